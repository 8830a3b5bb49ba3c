"""A candidate's trial: loaded and validated beside the current model, given real requests, measured, and handed over.

Reports the result through callbacks; the update machine decides what follows. Does not know the journal.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent.deployment.launcher import EXCLUSIVE_POLL_S, Launcher, unusable
from skerry_agent.deployment.service import ACCELERATOR_HUNG, Service, ServiceCallbacks
from skerry_agent.machine import probation
from skerry_agent.machine.records import Slot
from skerry_agent.ports.interfaces import Clock, Timer
from skerry_agent.ports.runner_protocol import Heartbeat, Job
from skerry_agent.state.disk import DiskError


class TrialCallbacks(Struct, frozen=True):
    """What a trial reports: ready (validated and warm), accepting requests, probation passed, failed (reason, detail).

    `heartbeat` passes on every heartbeat of the candidate's runner.
    """

    ready: Callable[[], None]
    accepting: Callable[[], None]
    passed: Callable[[], None]
    failed: Callable[[str, str], None]
    heartbeat: Callable[[Heartbeat], None]


class Trial:
    """The trial of one candidate. Once it is over, no callback is called any more."""

    def __init__(self, slot: Slot, launcher: Launcher, clock: Clock, callbacks: TrialCallbacks) -> None:
        self.service: Service | None = None
        self._slot, self._launcher, self._clock, self._callbacks = slot, launcher, clock, callbacks
        self._over = False
        self._timer: Timer | None = None
        self._stats = probation.CandidateStats()
        self._admitted_at: float | None = None

    def begin(self) -> None:
        """Start the runner, as soon as the accelerator is free where it needs one to itself."""
        if self._over:
            return
        hung = self._launcher.hung(self._slot)
        if hung is not None:
            self._failed(ACCELERATOR_HUNG, hung)
            return
        if self._launcher.must_wait(self._slot):
            self._timer = self._clock.after(EXCLUSIVE_POLL_S, self.begin)
            return
        callbacks = ServiceCallbacks(
            ready=self._ready, accepting=self._accepting, heartbeat=self._heartbeat, failed=self._failed
        )
        try:
            self.service = self._launcher.start(self._slot, callbacks)
        except DiskError as error:
            self._failed(unusable(error), str(error))

    def admit(self) -> None:
        """Hand it the listening socket; from now on it is on probation."""
        assert self.service is not None
        self._admitted_at = self._clock.monotonic()
        self.service.accept(_exercise_hz(self.service.job))

    def hand_over(self, callbacks: ServiceCallbacks) -> Service:
        """It is over, and passed: its service goes on with other callbacks."""
        assert self.service is not None
        self._end()
        self.service.callbacks = callbacks
        return self.service

    def drop(self) -> None:
        """It is over, and failed or no longer wanted: its runner goes."""
        self._end()
        if self.service is not None:
            self._launcher.stop(self.service)

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    # -- callbacks of its service -------------------------------------------------------------------------------------

    def _ready(self) -> None:
        if not self._over:
            self._callbacks.ready()

    def _accepting(self) -> None:
        if self._over:
            return
        self._callbacks.accepting()
        assert self.service is not None
        limit_s = self.service.job.bundle.probation.max_seconds
        self._timer = self._clock.after(limit_s + 1.0, self._check_probation)

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        if self._over:
            return
        if self._admitted_at is not None and self.service is not None and self.service.accepting:
            self._stats = self._stats.plus(_shown(heartbeat))
            self._check_probation()
        self._callbacks.heartbeat(heartbeat)

    def _failed(self, reason: str, detail: str) -> None:
        if not self._over:
            self._callbacks.failed(reason, detail)

    def _check_probation(self) -> None:
        assert self.service is not None
        assert self._admitted_at is not None
        elapsed_s = self._clock.monotonic() - self._admitted_at
        result = probation.judge_candidate(self.service.job.bundle.probation, self._stats, elapsed_s)
        if result.kind == "passed":
            self._callbacks.passed()
        elif result.kind == "failed":
            self._callbacks.failed(result.reason, result.detail)


def _shown(heartbeat: Heartbeat) -> probation.CandidateStats:
    return probation.CandidateStats(
        heartbeat.inferences, heartbeat.errors, heartbeat.invalid_outputs, heartbeat.latency, heartbeat.rss_bytes
    )


def _exercise_hz(job: Job) -> float:
    """Golden inputs stand in where no source brings load, fast enough for half of the time allowed."""
    limits = job.bundle.probation
    return 0.0 if job.sources else limits.min_inferences / (limits.max_seconds / 2)
