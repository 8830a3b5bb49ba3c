"""What lies behind a failure that is not the release's: a weak power supply, or an accelerator that is not to be had.

Pure: says who is to blame, and which deployment goes on without the accelerator. Does neither.
"""

from collections.abc import Callable

from msgspec.structs import replace

from skerry_agent.deployment.service import ACCELERATOR_HUNG
from skerry_agent.machine.causes import POWER_SUPPLY
from skerry_agent.machine.records import Deployment, Slot
from skerry_agent.wire.accelerators import NO_ACCELERATOR, PROBLEMS
from skerry_agent.wire.targets import TARGETS, TargetName

ACCELERATOR_CHANGED = "accelerator_changed"
WITHOUT_ACCELERATOR = frozenset({*PROBLEMS, ACCELERATOR_HUNG, ACCELERATOR_CHANGED})
"""Reasons for which a bundle of the accelerator cannot run, whatever the release is."""

POWER_CAUSES = frozenset(
    {"crashed", "hang", "start_timeout", "latency_over_budget", "too_few_inferences", NO_ACCELERATOR, ACCELERATOR_HUNG}
    | {"device_absent", "device_lost", "device_silent"}
)
"""Failures that too low a supply voltage may cause; what a model answers is not among them."""

BLAMED_S = 60.0
"""How long before a failure of the current bundle an under-voltage may have been that is blamed for it."""

Failure = tuple[str, str]
"""Reason and detail."""


def blamed(failure: Failure, undervoltage_since: Callable[[float], str | None], since: float) -> Failure:
    """A failure as it is reported: too low a voltage slows and crashes whatever release runs."""
    reason, detail = failure
    seen_by = undervoltage_since(since) if reason in POWER_CAUSES else None
    if seen_by is None:
        return failure
    return POWER_SUPPLY, f"{reason}: {detail}; the supply voltage was too low meanwhile ({seen_by})"


def fallback_target(slot: Slot | None, reason: str, targets: tuple[TargetName, ...]) -> TargetName | None:
    """The target that a board can run in place of a slot's, where the accelerator is what is missing."""
    fallback = TARGETS[slot.target].fallback if slot is not None else None
    return fallback if reason in WITHOUT_ACCELERATOR and fallback in targets else None


def deployment_of(slot: Slot, latest: Deployment | None, now: float) -> Deployment | None:
    """What brings a slot's release again: the latest deployment, or one of its own; None if nobody knows how."""
    if latest is not None and latest.release == slot.release:
        return replace(latest, outcome=None, detail="", ended_at=None, transfer=None)
    if slot.manifest is None:
        return None
    known = latest or Deployment("", slot.release, slot.target, slot.manifest)
    return Deployment(
        id=f"fallback-{slot.manifest.sha256[:16]}-{now:.0f}",
        release=slot.release,
        target=slot.target,
        manifest=slot.manifest,
        ordered_at=now,
        http=known.http,
        after=known.after or known.id,
        asked=known.asked,
        runtime=slot.runtime.manifest if slot.runtime is not None else None,
    )


def lack(model: str, reason: str, detail: str) -> str:
    """The issue of a model that runs without its accelerator."""
    code = f"{reason}: " if reason == ACCELERATOR_HUNG else ""
    why = f" ({reason})" if reason not in {NO_ACCELERATOR, ACCELERATOR_HUNG} else ""
    return f"{code}{model} runs without the Edge TPU: {detail}{why}"
