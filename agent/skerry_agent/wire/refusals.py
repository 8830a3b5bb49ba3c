"""Orders that are refused, told at once: the table of the codes, and how a device says it in its twin. Pure.

An order is a signed message of the host: a desired state or a command. What a device refuses before it has begun has
no deployment yet that could end with a reason, so the twin lists the newest refusals; the host ends what it has ordered
with just that message, which it knows by its sha256. A refusal proves nothing: it ends an attempt and signs nothing.
What is refused later (a manifest, a bundle) ends its deployment, whose report has a reason.
"""

import hashlib
from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire.codec import MAX_MESSAGE_BYTES
from skerry_agent.wire.names import Sha256

MOST_REFUSALS = 4
"""So many a twin lists, the newest."""

MAX_ORDER_BYTES = MAX_MESSAGE_BYTES // 2
"""The largest order that is looked at: with room for its base64 in the message that has it verified."""

OrderKind = Literal["desired", "command"]


class RefusedOrder(Struct, frozen=True, omit_defaults=True):
    """One message that a device refused at `at`, by its own clock. Generation and ids as far as they could be read.

    They are what the message says of itself, signed or not: for people, not to decide anything by.
    """

    kind: OrderKind
    code: str
    message_sha256: Sha256
    at: float
    detail: str = ""
    generation: int | None = None
    ids: Annotated[tuple[str, ...], Meta(max_length=16)] = ()


class RefusalCode(Struct, frozen=True):
    """What a code means, what to do, and how a deployment ends with it."""

    text: str
    hint: str
    outcome: Literal["rejected", "failed"] = "rejected"


REFUSALS: dict[str, RefusalCode] = {
    "stale_generation": RefusalCode(
        "older than an order that was accepted",
        "the registry may be a restored backup: its next order has a higher generation; start the rollout again",
    ),
    "wrong_device": RefusalCode(
        "an order for another device", "two devices may have one id: provision this one under its own"
    ),
    "wrong_incarnation": RefusalCode(
        "an order for the device as it was before it was set up anew",
        "order again; if that is refused too, enrol the device again: `skerry device provision`",
    ),
    "expired_order": RefusalCode(
        "expired, by the device's clock", "set the device's clock; if that is right, order again"
    ),
    "older_command": RefusalCode(
        "older than a command that was run", "order again; two planes may serve the same device"
    ),
    "unknown_command": RefusalCode(
        "a command that this agent does not know", "install a newer skerry-agent on the device"
    ),
    "cannot_be_done": RefusalCode("a command that cannot be carried out", "see the detail"),
    "untrusted": RefusalCode(
        "not signed by a key that the device trusts",
        "another host may have provisioned it: put this host's trust.json on the device",
    ),
    "no_trusted_keys": RefusalCode("the device has no usable trust.json", "put this host's trust.json on the device"),
    "wrong_type": RefusalCode("signed as another kind of message", "something else publishes on this topic"),
    "unsupported_schema": RefusalCode(
        "of a newer format than this agent knows", "install a newer skerry-agent on the device"
    ),
    "malformed": RefusalCode("not an order", "something else publishes on this topic, or the host is newer"),
    "oversize_order": RefusalCode("larger than any order", "something else publishes on this topic"),
    "disk_full": RefusalCode("the device's disk is full", "free some space on the device, then order again"),
    "disk": RefusalCode("the device's disk takes nothing", "check or replace the device's disk"),
    "no_answer": RefusalCode("its signature could not be checked in time", "see the device's log"),
    "updater_died": RefusalCode("the updater died", "see the device's log: memory may be short"),
    "updater_not_started": RefusalCode("the updater did not start", "see the device's log"),
    "updater_timeout": RefusalCode("the updater did not answer", "see the device's log"),
    "updater_error": RefusalCode("an error of the updater", "see the device's log, and report it"),
    "wrong_machine": RefusalCode(
        "for another architecture", "build the release for this board, or leave the board out"
    ),
    "wrong_python": RefusalCode("for another Python", "create it for the Python that the device has"),
    "glibc_too_old": RefusalCode(
        "needs a newer C library", "upgrade the device's operating system, or create it for this one"
    ),
    "agent_too_old": RefusalCode("needs a newer agent", "install a newer skerry-agent on the device"),
    "no_runtime": RefusalCode(
        "no runtime on the device that runs it", "install the engine's extra of skerry-agent on the device"
    ),
    "runtime_too_old": RefusalCode("needs a newer runtime", "roll out a newer runtime to the device first"),
    "accelerator_too_old": RefusalCode(
        "needs a newer accelerator library", "compile it for the older runtime (-m), or upgrade libedgetpu"
    ),
    "not_enough_ram": RefusalCode("more memory than the device has", "build a smaller model for this board"),
    "not_enough_disk": RefusalCode("more disk than the device has free", "free some space on the device"),
    "no_wheelhouse": RefusalCode(
        "no wheels for the device's machine and Python",
        "create the runtime with a folder of wheels for it, too, or order `--runtime base`",
    ),
    "runtime_needs_glibc": RefusalCode(
        "the runtime needs a newer C library", "upgrade the device's operating system, or take an older runtime"
    ),
    "rollback_without_runtime": RefusalCode(
        "a rollback could not run what runs now", "order the same release with the runtime that it has, first"
    ),
    "missing_object": RefusalCode(
        "the host's store lacks a file of the release",
        "restore the store from a backup, or create the release anew",
        "failed",
    ),
    "broker_limit": RefusalCode(
        "a chunk is larger than the broker's limit",
        "raise the broker's limit, serve blobs over HTTP (`skerry serve --blobs`), or create the release anew, under "
        "another version: its chunks follow the limit",
        "failed",
    ),
}
"""Every code with which an order is refused before it has begun; the last two by the host itself.

What is missing of a device (`wire.admission`) the host says before it orders, and the device before it fetches."""


def message_sha256(raw: bytes) -> str:
    """The name of a message: the host knows by it whether it is one of its own."""
    return hashlib.sha256(raw).hexdigest()
