"""The words shown to people for the codes of the wire and the registry: outcomes, states, reasons, transports.

One table for the terminal and the web page alike. JSON and the registry keep the codes, so nothing here is parsed.
"""

import re

LABELS = {
    # outcomes of deployments
    "succeeded": "succeeded",
    "rejected": "rejected",
    "failed": "failed",
    "rolled_back": "rolled back",
    "cancelled": "cancelled",
    "timed_out": "timed out",
    # by what a device is known, and why its deployments ended when it left
    "awaited": "waiting for its board",
    "identity": "identity",
    "no_identity": "no identity",
    "retired": "retired",
    "revoked": "revoked",
    # states of a device, of its update machine and of a rollout
    "online": "online",
    "offline": "offline",
    "serving": "serving",
    "not_serving": "not serving",
    "waiting": "waiting",
    "ended": "ended",
    "idle": "idle",
    "fetching": "fetching",
    "verifying": "verifying",
    "staged": "staged",
    "probation": "probation",
    "committed": "committed",
    "rolling_back": "rolling back",
    "pending": "pending",
    "running": "running",
    "aborting": "aborting",
    "aborted": "aborted",
    # alarms of a device
    "cloned": "two devices with one id",
    "tampering": "orders tampered with",
    "unsigned_generation": "order not signed by this host",
    # settings from afar, and why a device went back
    "kept": "kept",
    "trial": "on trial",
    "sent": "sent",
    "foreign_order": "set by an order that this host does not know",
    "kept_here": "kept by the board for itself",
    "superseded": "another order came",
    "hours": "not a time window",
    "invalid_settings": "settings that do not fit together",
    "unknown_model": "no such model on the device",
    "port_in_use": "port in use",
    "port_unusable": "address cannot be used",
    "no_connection": "no connection to the broker",
    "not_confirmed": "not confirmed by the host",
    "no_samples": "no samples from its sources",
    # transports
    "retained": "MQTT retained",
    "asked": "MQTT on request",
    "http": "HTTP",
    "folder": "folder",
    "refused": "refused",
    # reasons for which an order is refused before it is begun
    "broker_limit": "chunks over the broker's message limit",
    "cannot_be_done": "cannot be done",
    "expired_order": "order expired by the device's clock",
    "missing_object": "missing file in the host's store",
    "no_trusted_keys": "no usable trust.json on the device",
    "older_command": "older than a command that was run",
    "oversize_order": "order too large",
    "stale_generation": "order older than one that was accepted",
    "unknown_command": "command unknown to the agent",
    "unsupported_schema": "newer format than the agent reads",
    "wrong_device": "order for another device",
    "wrong_incarnation": "order for the device before it was set up anew",
    # what a device lacks for a release
    "accelerator_too_old": "accelerator library too old",
    "agent_too_old": "agent too old",
    "glibc_too_old": "C library too old",
    "no_runtime": "no runtime that runs it",
    "not_enough_disk": "not enough disk",
    "not_enough_ram": "not enough memory",
    "runtime_too_old": "runtime too old",
    "wrong_machine": "another architecture",
    "wrong_python": "another Python",
    # reasons that lie in a runtime, or in what a device has to install it with
    "install_failed": "not installed",
    "interrupted": "probe of the runtime interrupted",
    "no_pip": "no pip on the device",
    "no_wheelhouse": "no wheels for this device",
    "probe_interrupted": "probe of the runtime interrupted",
    "rollback_without_runtime": "rollback would lack its runtime",
    "runtime_crashed": "runtime crashes at import",
    "runtime_does_not_load": "runtime does not load",
    "runtime_gone": "runtime not on the device any more",
    "runtime_hangs": "runtime hangs at import",
    "runtime_needs_glibc": "runtime needs a newer C library",
    "wheel_misfit": "wheel for another machine or Python",
    "wheelhouse_unfit": "unusable wheelhouse",
    "wrong_kind": "release of another kind",
    # reasons that lie in an agent that was to be upgraded to, or in its upgrade
    "agent_crashed": "agent crashes at import",
    "agent_died": "agent ended before it was healthy",
    "agent_gone": "agent not on the device any more",
    "agent_hangs": "agent hangs at import",
    "agent_import": "agent cannot be imported",
    "agent_install": "installation cut off",
    "agent_keeps_dying": "agent did not stay up",
    "agent_needs_glibc": "agent needs a newer C library",
    "agent_not_healthy": "agent not healthy in time",
    "agent_not_started": "agent was not started",
    "agent_selftest": "agent does not serve the models",
    "agent_version": "agent of another version",
    "installing": "installing",
    # reasons that lie in the host, the network or the disk
    "already_current": "already installed",
    "deadline": "deadline exceeded",
    "disk": "disk error",
    "disk_full": "disk full",
    "full_not_allowed": "full download not allowed",
    "no_other_release": "no other release to serve",
    "ordered": "rollback ordered",
    "power_supply": "power supply too weak",
    "plane_error": "error of the host",
    "over_byte_budget": "byte budget exceeded",
    "rollback_failed": "rollback failed",
    "stalled": "download stalled",
    "too_much_in_vain": "transfer overrun",
    "unreachable": "no download source reachable",
    "withdrawn": "withdrawn by the host",
    # reasons that lie in the board, not in the release
    "board_busy": "board too busy to start it",
    "killed": "runner killed from outside",
    "not_started": "runner did not start",
    "oom_killed": "killed for want of memory",
    "stopped": "runner stopped from outside",
    # reasons that lie in trust and integrity
    "bundle_damaged": "damaged bundle",
    "bundle_gone": "missing bundle",
    "bundle_unreadable": "unreadable bundle",
    "damaged": "damaged file",
    "damaged_file": "damaged file in the download source",
    "damaged_record": "damaged record",
    "device_id": "invalid device id",
    "digest_mismatch": "digest list checksum mismatch",
    "factory_unfit": "factory release unusable",
    "foreign_record": "record of unknown format",
    "golden_format": "malformed golden file",
    "hash_mismatch": "checksum mismatch",
    "malformed": "malformed message",
    "missing_blob": "missing file",
    "missing_file": "missing file in the download source",
    "no_bundle": "no bundle for this target",
    "release_name": "invalid release name",
    "unreadable_file": "unreadable file in the download source",
    "unreadable_record": "unreadable record",
    "untrusted": "untrusted signature",
    # reasons that lie in a device's identity, or in how it calls the broker
    "broker_credentials": "unusable broker credentials",
    "broker_url": "invalid broker address",
    "certificate_expired": "certificate expired",
    "certificate_not_yet_valid": "certificate not valid yet",
    "damaged_identity": "damaged identity",
    "foreign_certificate": "certificate of another authority",
    "key": "unusable key",
    "principal": "invalid name of a client",
    "sha256": "invalid checksum",
    "unfit_certificate": "certificate for another purpose",
    "unusable_authority": "unusable certificate of the fleet",
    "unusable_certificate": "unusable certificate",
    "unusable_key": "unusable key file",
    "wrong_key": "certificate of another key",
    "wrong_name": "certificate for another name",
    "wrong_release": "wrong release",
    "wrong_type": "wrong message type",
    # reasons that lie in a patch
    "format_version": "unsupported patch format",
    "not_a_patch": "not a Skerry patch",
    "not_enough_memory": "not enough memory for the patch",
    "patch_failed": "patch failed",
    "too_large": "patched file too large",
    "trailing_bytes": "trailing bytes in patch",
    "wrong_base": "wrong patch base",
    "wrong_result": "wrong patch result",
    # reasons that lie in the model on the device
    "accelerator_changed": "accelerator changed",
    "accelerator_hung": "accelerator hung",
    "constant_output": "constant output",
    "crashed": "runner crashed",
    "api_failed": "inference API refuses all over TCP",
    "golden_damaged": "damaged golden file",
    "golden_mismatch": "golden outputs not reproduced",
    "hang": "inference hung",
    "inference_failed": "inference failed",
    "invalid_output": "NaN or infinite output",
    "unusual_input": "input outside of what the model takes",
    "latency_over_budget": "latency over budget",
    "load_failed": "model load failed",
    "memory_growing": "memory keeps growing",
    "memory_over_budget": "memory over budget",
    "device_absent": "no Edge TPU connected",
    "device_busy": "Edge TPU in use",
    "device_forbidden": "no permission for the Edge TPU",
    "device_lost": "Edge TPU lost in service",
    "device_silent": "Edge TPU does not answer",
    "driver_absent": "no libedgetpu",
    "driver_crashes": "libedgetpu crashes",
    "driver_for_other_tflite": "libedgetpu for another TFLite",
    "driver_too_old": "libedgetpu too old",
    "driver_unfit": "libedgetpu for another system",
    "no_accelerator": "accelerator not found",
    "runtime_unfit": "runtime beside the accelerator broken",
    "no_positive_output": "nothing found any more",
    "results_failed": "results not written",
    "runner_stuck": "runner stuck in the kernel",
    "sample": "unusable sample",
    "source_failed": "input source failed",
    "start_timeout": "start timed out",
    "too_few_inferences": "too few inferences",
    "too_many_errors": "too many errors",
    # reasons that lie in the agent itself
    "agent_restarts": "too many agent restarts",
    "calibration": "unusable calibration",
    "config": "invalid configuration",
    "error": "error",
    "illegal_transition": "illegal state transition",
    "install": "installation failed",
    "no_answer": "no answer",
    "not_running": "agent not running",
    "updater_died": "updater crashed",
    "updater_error": "updater error",
    "updater_not_started": "updater did not start",
    "updater_timeout": "updater timed out",
}

EVENTS = {
    "alarm_ended": "alarm ended",
    "answered": "command answered",
    "approved": "board approved",
    "claim": "claim made",
    "claim_flood": "claim asks without end",
    "denied": "board denied",
    "identity": "board enrolled",
    "move": "move to an identity",
    "renamed": "renamed",
    "retagged": "tags changed",
    "waiting_board": "board waits",
    "kept": "release kept",
    "order": "order",
    "order_refused": "order refused",
    "ordered": "command sent",
    "refused": "command refused",
    "settings_ordered": "settings ordered",
    "settings_kept": "settings kept",
    "settings_rolled_back": "settings rolled back",
    "settings_refused": "settings refused",
}
"""Kinds of events that are shown with other words than the codes above, or are not among them."""

_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


def label(text: str) -> str:
    """The word for a code, or a sentence in which codes stand between colons, with those replaced.

    A code that is not in the table comes from a newer agent: it is shown with spaces for underscores.
    """
    if _CODE.match(text):
        return LABELS.get(text, text.replace("_", " "))
    return ": ".join(LABELS.get(part, part) for part in text.split(": "))


def event_label(kind: str) -> str:
    """The word for a kind of event."""
    return EVENTS.get(kind) or label(kind)


def transports(codes: str) -> str:
    """The words for transports, which the registry keeps with commas between."""
    return ", ".join(map(label, filter(None, codes.split(", "))))


def because(reason: str, detail: str) -> str:
    """A reason and its detail as one text; empty when there is neither."""
    return ": ".join(map(label, filter(None, (reason, detail))))
