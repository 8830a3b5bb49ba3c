"""Prepares a deployment, from its order to a bundle on disk: the transfer, the updater, and the deadline for both.

A late answer, to a deployment that has ended, is recognised by its token and dropped. Results are events for the update
machine. The trial that follows has its own limits.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.transfer import Transfer, runtime_order, spare_target
from skerry_agent.machine import events
from skerry_agent.machine.events import Event
from skerry_agent.machine.records import Deployment, Slot, Spare
from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.ports.interfaces import Timer
from skerry_agent.ports.jobs import Answer, Refusal, Staged, StageJob
from skerry_agent.wire.targets import TARGETS

CRASH_PAUSE_S = 1.0
"""Before the updater is started again, times the attempts that were cut off: memory that was short may be free then."""


class Preparation:
    """The preparation of one model's deployments. `transfer` is kept for its figures when it is over."""

    def __init__(self, context: DeviceContext, handle: Callable[[Event], None]) -> None:
        self.transfer: Transfer | None = None
        self._context, self._handle = context, handle
        self._token = object()
        self._deadline: Timer | None = None
        self._cancel_updater: Callable[[], None] = _nothing

    def fetch(self, deployment: Deployment, have: dict[str, str]) -> None:
        """Fetch what the deployment needs beside the files of `have`, by sha256."""
        self._set_deadline(deployment)
        self.transfer = Transfer(self._context, deployment, have, self._guarded(self._handle))
        self.transfer.start()

    def stage(self, deployment: Deployment, have: dict[str, str], slots: Sequence[Slot]) -> None:
        """Have the updater verify what was fetched and make the bundle. `slots`: those that have served."""
        self._set_deadline(deployment)
        bundle = bundle_name(deployment)
        job = StageJob(
            release=deployment.release,
            target=deployment.target,
            manifest_file=str(self._context.blobs.path(deployment.manifest.sha256)),
            have=have,
            blobs_dir=str(self._context.blobs.folder),
            bundle_dir=str(self._context.folders.folder(bundle)),
            runtime=runtime_order(self._context, deployment, slots),
            spare=spare_target(self._context, deployment) or "",
            spare_dir=str(self._context.folders.folder(_spare_bundle(deployment))),
        )
        answered = self._guarded(lambda answer: self._handle(_made_of(answer, deployment, bundle)))

        def start() -> None:
            self._cancel_updater = self._context.processes.run_updater(job, answered)

        if deployment.attempts:
            self._context.clock.after(CRASH_PAUSE_S * deployment.attempts, self._guarded(start))
        else:
            start()

    def done(self) -> None:
        """There is a bundle: nothing is awaited any more."""
        self._token = object()
        if self._deadline is not None:
            self._deadline.cancel()

    def drop(self) -> None:
        """Stop whatever works."""
        self.done()
        self._cancel_updater()
        self._cancel_updater = _nothing
        if self.transfer is not None:
            self.transfer.stop()
            self.transfer = None

    def _set_deadline(self, deployment: Deployment) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        expired = self._guarded(lambda: self._handle(events.Expired()))
        self._deadline = self._context.clock.after(seconds_left(deployment, self._context.clock.wall()), expired)

    def _guarded(self, call: Callable[..., None]) -> Callable[..., None]:
        """`call`, unless the work it belongs to is over by then."""
        token = self._token

        def guarded(*arguments: Any) -> None:
            if token is self._token:
                call(*arguments)

        return guarded


def bundle_name(deployment: Deployment) -> str:
    """The folder of what is ordered: its own for each runtime, so that no damage hits what would be gone back to."""
    name = f"{deployment.manifest.sha256[:16]}-{deployment.target}"
    return f"{name}-{deployment.runtime_sha256[:8]}" if deployment.runtime is not None else name


def seconds_left(deployment: Deployment, now: float) -> float:
    """Seconds until the deadline; all of them where the clock was set in between, so that they cannot be known."""
    spent = now - deployment.ordered_at if deployment.ordered_at > PLAUSIBLE_WALL_S else 0.0
    return max(0.0, deployment.policy.deadline_s - max(0.0, spent))


_OF_REFUSALS: dict[str, Callable[[Refusal], Event]] = {
    "rejected": lambda answer: events.Rejected(answer.reason, answer.detail),
    "patch_failed": lambda answer: events.PatchFailed(f"{answer.reason}: {answer.detail}"),
    "patch_refused": lambda answer: events.PatchRefused(answer.reason, answer.detail),
    "failed": lambda answer: events.StageFailed(answer.reason, answer.detail),
    "crashed": lambda answer: events.StageCrashed(answer.reason, answer.detail),
}


def _spare(answer: Staged, deployment: Deployment) -> Spare | None:
    target = TARGETS[deployment.target].fallback
    if target is None or not answer.spare_sha256:
        return None
    return Spare(_spare_bundle(deployment), target, answer.spare_sha256)


def _spare_bundle(deployment: Deployment) -> str:
    """The folder of a spare bundle: as if it had been ordered itself."""
    return bundle_name(replace(deployment, target=TARGETS[deployment.target].fallback or deployment.target))


def _made_of(answer: Answer, deployment: Deployment, bundle: str) -> Event:
    """The updater's answer as an event."""
    match answer:
        case Staged():
            digests = deployment.manifest.sha256, answer.model_sha256
            slot = Slot(
                bundle,
                deployment.release,
                deployment.target,
                *digests,
                manifest=deployment.manifest,
                runtime=answer.runtime,
                spare=_spare(answer, deployment),
            )
            return events.Verified(slot)
        case Refusal():
            return _OF_REFUSALS[answer.kind](answer)
    return events.StageFailed("updater_error", f"{type(answer).__name__} is not an answer to a stage job")


def _nothing() -> None:
    """No updater is running."""
