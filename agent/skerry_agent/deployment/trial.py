"""A candidate's trial: loaded and validated beside the current model, given real requests, measured, and handed over.

While it is on probation golden inputs run whenever no other load comes; that ends with it, however it ends. Reports the
result through callbacks; the update machine decides what follows. Does not know the journal.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.deployment.launcher import EXCLUSIVE_POLL_S, Launcher, unusable
from skerry_agent.deployment.observed import WARM_UP_S, MemoryLog
from skerry_agent.deployment.service import ACCELERATOR_HUNG, Service, ServiceCallbacks
from skerry_agent.machine import positives, probation
from skerry_agent.machine.memory_growth import NONE, Growth
from skerry_agent.machine.records import Slot
from skerry_agent.ports.interfaces import Clock, Timer
from skerry_agent.ports.runner_protocol import Heartbeat, Job
from skerry_agent.state.disk import DiskError

SERVES_S = 3.0
"""What it allocates to begin with, for its API and its sources, it has by then."""

HASTE = 1.1
MAX_POINTS = 1200
"""Of its memory: seconds, mostly."""


class TrialCallbacks(Struct, frozen=True):
    """What a trial reports: ready (validated and warm), accepting requests, probation passed, failed (reason, detail).

    `begins` comes before its runner starts, again each time that it finds the accelerator taken. `heartbeat` passes on
    every heartbeat of the candidate's runner.
    """

    begins: Callable[[], None]
    ready: Callable[[], None]
    accepting: Callable[[], None]
    passed: Callable[[], None]
    failed: Callable[[str, str], None]
    heartbeat: Callable[[Heartbeat], None]


class Trial:
    """The trial of one candidate. Once it is over, no callback is called any more."""

    def __init__(
        self, slot: Slot, launcher: Launcher, clock: Clock, callbacks: TrialCallbacks, seen: positives.Seen
    ) -> None:
        self.service: Service | None = None
        self.looks, self._seen = positives.Looks(), seen
        self._memory = MemoryLog(WARM_UP_S, 0.0, MAX_POINTS)
        self._least_rss: int | None = None
        self._checked_at = 0.0
        self._stood_s = 0.0
        self._slot, self._launcher, self._clock, self._callbacks = slot, launcher, clock, callbacks
        self._over = False
        self._timer: Timer | None = None
        self._stats = probation.CandidateStats()
        self._admitted_at: float | None = None

    def begin_after(self, seconds: float) -> None:
        """Begin it later."""
        self._timer = self._clock.after(seconds, self.begin)

    def begin(self) -> None:
        """Start the runner, as soon as the accelerator is free where it needs one to itself."""
        if self._over:
            return
        hung = self._launcher.hung(self._slot)
        if hung is not None:
            self._failed(ACCELERATOR_HUNG, hung)
            return
        self._callbacks.begins()
        if self._launcher.must_wait(self._slot):
            self._timer = self._clock.after(EXCLUSIVE_POLL_S, self.begin)
            return
        callbacks = ServiceCallbacks(
            ready=self._ready, accepting=self._accepting, heartbeat=self._heartbeat, failed=self._failed
        )
        try:
            self.service = self._launcher.start(self._slot, callbacks, committed=False)
        except DiskError as error:
            self._failed(unusable(error), str(error))

    def admit(self) -> None:
        """Hand it the listening socket; from now on it is on probation."""
        assert self.service is not None
        self._admitted_at = self._checked_at = self._clock.monotonic()
        self.service.accept()
        self.service.exercise(_exercise_hz(self.service.job))

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

    @property
    def progress(self) -> str:
        """What it has run so far, for people."""
        stats = self._stats
        exercised = f" and {stats.exercised.inferences} golden inputs" if stats.exercised.inferences else ""
        return f"{stats.inferences} inferences{exercised} so far"

    def _end(self) -> None:
        self._over = True
        if self.service is not None:
            self.service.exercise(0.0)
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
        self._timer = self._clock.after(limit_s + 1.0, self._time_is_over)

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        if self._over:
            return
        if self._admitted_at is not None and self.service is not None and self.service.accepting:
            self._count(heartbeat)
            self._check_probation()
        self._callbacks.heartbeat(heartbeat)

    def _failed(self, reason: str, detail: str) -> None:
        if not self._over:
            self._callbacks.failed(reason, detail)

    def _count(self, heartbeat: Heartbeat) -> None:
        now = self._clock.monotonic()
        self._memory.add(now, heartbeat.rss_bytes)
        self.looks.add(now, heartbeat.judged, heartbeat.positives)
        found = positives.judge_trial(self.looks, self._seen)
        growth = self._memory.growth
        shown = _shown(heartbeat, growth, found)
        self._stats = self._stats.plus(replace(shown, may_grow=growth == NONE and self._has_risen(now, heartbeat)))

    def _has_risen(self, now: float, heartbeat: Heartbeat) -> bool:
        """Whether its memory has risen by as much as a leak must have, since it had begun to serve."""
        assert self._admitted_at is not None
        if now - self._admitted_at < SERVES_S:
            return False
        self._least_rss = min(heartbeat.rss_bytes, self._least_rss or heartbeat.rss_bytes)
        return heartbeat.rss_bytes - self._least_rss >= probation.LEAST_GROWN

    def _time_is_over(self) -> None:
        """Its time; without heartbeats nothing else ends it. What this process slept through is not its time."""
        self._check_probation()
        if not self._over:
            self._timer = self._clock.after(1.0, self._time_is_over)

    def _elapsed_s(self) -> float:
        """Since it was admitted, without the time in which this process stood still."""
        assert self._admitted_at is not None
        now = self._clock.monotonic()
        gap_s, self._checked_at = now - self._checked_at, now
        if self.service is not None and gap_s > self.service.hang_s:
            self._stood_s += gap_s
        return now - self._admitted_at - self._stood_s

    def _check_probation(self) -> None:
        assert self.service is not None
        elapsed_s = self._elapsed_s()
        result = probation.judge_candidate(self.service.job.bundle.probation, self._stats, elapsed_s)
        if result.kind == "passed":
            self._callbacks.passed()
        elif result.kind == "failed":
            self._callbacks.failed(result.reason, result.detail)


def _shown(
    heartbeat: Heartbeat, growth: Growth, found: Literal["passed", "undecided", "failed"]
) -> probation.CandidateStats:
    done = heartbeat.exercised
    return probation.CandidateStats(
        inferences=heartbeat.inferences,
        errors=heartbeat.errors,
        invalid_outputs=heartbeat.invalid_outputs,
        latency=heartbeat.latency,
        rss_bytes=heartbeat.rss_bytes,
        exercised=probation.ExerciseStats(done.inferences, done.errors, done.wrong, done.latency)
        if done is not None
        else probation.ExerciseStats(),
        growth=growth,
        found=found,
    )


def _exercise_hz(job: Job) -> float:
    """Golden inputs stand in wherever no load comes, from sources or clients, fast enough for half of the time allowed.

    A little faster, so that the last one is counted in time.
    """
    limits = job.bundle.probation
    return HASTE * limits.min_inferences / (limits.max_seconds / 2)
