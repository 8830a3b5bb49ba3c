"""One runner in service, from start to exit: readiness, accepting requests, draining, hang detection.

Translates a runner's messages into four callbacks. Knows nothing of slots or deployments.

A process that is stuck in the kernel, as drivers of accelerators make them, does not end when it is killed. It is never
waited for longer than `KILL_GRACE_S`: then it is `stuck`, until it goes after all.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent import log
from skerry_agent.config import AgentSection
from skerry_agent.ports.interfaces import Clock, Processes, Timer
from skerry_agent.ports.runner_protocol import (
    Accept,
    Accepting,
    Drain,
    Drained,
    Exercise,
    FromRunner,
    Heartbeat,
    Job,
    Loaded,
    Ready,
    Refused,
    Result,
    Stop,
)

DRAIN_GRACE_S = 5.0
KILL_GRACE_S = 5.0
ACCELERATOR_HUNG = "accelerator_hung"
LATE_S = 2.0
"""A timer that runs so much later than it was due says that this process itself was stopped, or waited: for a frozen
machine, a stopped group of processes, a disk. Nobody was heard meanwhile, so nobody is blamed."""

STARVED_PERIODS = 4
"""How many times `start_timeout_s` a runner has that hardly gets the processor."""
STARVED_SHARE = 3.0
"""It hardly gets it where it waits for it this many times as long as it has it. One that has had `start_timeout_s` of
it has had its time, however long that took."""


class ServiceCallbacks(Struct, frozen=True):
    """What a service reports: ready to be admitted, accepting requests, each heartbeat, failed (reason, detail)."""

    ready: Callable[[], None]
    accepting: Callable[[], None]
    heartbeat: Callable[[Heartbeat], None]
    failed: Callable[[str, str], None]


class Service:
    """A runner process and its state. After `failed` or `stop` no callback is called any more.

    One that holds an accelerator (`exclusive`) and is given up has failed only when its process has ended, or is stuck:
    until then nobody else could use the accelerator. `stuck_changed` is called when it gets stuck, and when it goes.
    """

    def __init__(
        self, job: Job, processes: Processes, clock: Clock, limits: AgentSection, callbacks: ServiceCallbacks
    ) -> None:
        self.job = job
        self.ready = False
        self.accepting = False
        self.gone = False
        self.stuck = False
        self.exclusive = False
        self.stuck_changed: Callable[[], None] = _nothing
        self.loaded: Loaded | None = None
        self.source_issues: tuple[str, ...] = ()
        self.answered = 0
        self.callbacks = callbacks
        self.result: Callable[[Result], None] = _nobody
        self._clock, self._limits = clock, limits
        self._stopping = False
        self._refusal: Refused | None = None
        self._verdict: tuple[str, str] | None = None
        self._heard_at = self._due_at = clock.monotonic()
        self._cpu_s = self._waited_s = 0.0
        self._periods = 1
        self._exercising = False
        self._runner = processes.start_runner(job, self)
        self.pid = self._runner.pid
        self._timer = self._after(limits.start_timeout_s, self._start_timed_out)

    @property
    def hang_s(self) -> float:
        """How long it may say nothing."""
        return self._limits.hang_s

    def use(self, limits: AgentSection) -> None:
        """Judge it by other limits from now on."""
        self._limits = limits

    # -- orders --------------------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Let it answer; `callbacks.accepting` follows."""
        self._runner.send(Accept())

    def exercise(self, rate_hz: float) -> None:
        """Let it run golden inputs at a rate where no other load comes; 0 ends that where it runs."""
        if rate_hz > 0 or self._exercising:
            self._runner.send(Exercise(rate_hz))
        self._exercising = rate_hz > 0

    def drain(self) -> None:
        """Let it finish what is open and stay as a standby."""
        self.accepting = self._exercising = False
        self._runner.send(Drain(DRAIN_GRACE_S))

    def stop(self) -> None:
        """Let it finish what is open, then end it; killed if it does not end."""
        self._verdict = None
        if self.gone or self._stopping:
            return
        self._stopping = True
        self._timer.cancel()
        self._runner.send(Drain(DRAIN_GRACE_S))
        self._timer = self._clock.after(DRAIN_GRACE_S + 2.0, self.kill)

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        self._timer.cancel()
        self._runner.kill()
        if not self.gone:
            self._timer = self._clock.after(KILL_GRACE_S, self._not_ended)

    # -- RunnerListener ------------------------------------------------------------------------------------------------

    def received(self, message: FromRunner) -> None:
        """Take a message of the runner."""
        self._heard_at = self._clock.monotonic()
        match message:
            case Drained() if self._stopping:
                self._runner.send(Stop())
            case _ if self._stopping:
                pass
            case Loaded():
                self.loaded = message
                self._log("info", "the model is loaded", runtime=message.engine, load_ms=message.load_us / 1000)
            case Ready():
                self._became_ready()
            case Refused():
                self._refusal = message
            case Accepting():
                self.accepting = True
                self._log("info", "a runner serves")
                self.callbacks.accepting()
            case Heartbeat():
                self._heartbeat(message)
            case Result():
                self.result(message)
            case Drained():
                pass

    def exited(self, reason: str, detail: str) -> None:
        """The process has ended."""
        self.gone = True
        self.ready = self.accepting = False
        self._timer.cancel()
        if self.stuck:
            self.stuck = False
            self.stuck_changed()
        if self._verdict is not None:
            self._tell(*self._verdict)
        if self._stopping:
            return
        self._stopping = True
        if self._refusal is not None:
            reason, detail = self._refusal.code, self._refusal.detail
        self._log("warning", "a runner ended", reason=reason, detail=detail)
        self.callbacks.failed(reason, detail)

    # -- watching ------------------------------------------------------------------------------------------------------

    def _became_ready(self) -> None:
        self.ready = True
        self._timer.cancel()
        self._timer = self._after(self._limits.hang_s, self._watch)
        self.callbacks.ready()

    def _after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """A timer that `_was_late` can be asked about."""
        self._due_at = self._clock.monotonic() + seconds
        return self._clock.after(seconds, call)

    def _was_late(self) -> bool:
        return self._clock.monotonic() - self._due_at > LATE_S

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        self.source_issues = heartbeat.source_issues
        self.answered += heartbeat.inferences
        self._cpu_s += heartbeat.cpu_s
        self._waited_s += heartbeat.waited_s
        if self.ready and heartbeat.busy_s > self._limits.hang_s:
            self._give_up("hang", f"one inference has taken {heartbeat.busy_s:.1f} s")
        else:
            self.callbacks.heartbeat(heartbeat)

    def _watch(self) -> None:
        if self._was_late():
            self._heard_at = self._clock.monotonic()
        silent_s = self._clock.monotonic() - self._heard_at
        if silent_s > self._limits.hang_s:
            reason = "stopped" if self._runner.stopped else "hang"
            self._give_up(reason, f"silent for {silent_s:.1f} s")
        else:
            self._timer = self._after(self._limits.hang_s / 2, self._watch)

    def _start_timed_out(self) -> None:
        starved = self._waited_s > STARVED_SHARE * self._cpu_s and self._cpu_s < self._limits.start_timeout_s
        seconds = self._periods * self._limits.start_timeout_s
        if self._was_late():
            self._timer = self._after(self._limits.start_timeout_s, self._start_timed_out)
        elif self._runner.stopped:
            self._give_up("stopped", f"not ready within {seconds:.0f} s")
        elif starved and self._periods < STARVED_PERIODS:
            self._periods += 1
            self._timer = self._after(self._limits.start_timeout_s, self._start_timed_out)
        elif starved:
            share = f"it waited {self._waited_s:.0f} s for the processor and had it for {self._cpu_s:.1f} s"
            self._give_up("board_busy", f"not ready within {seconds:.0f} s: {share}")
        else:
            self._give_up("start_timeout", f"not ready within {seconds:.0f} s")

    def _log(self, level: str, sentence: str, **fields: object) -> None:
        model, release = self.job.model, self.job.release
        log.say(level, f"{model}: {sentence}", model=model, release=release, pid=self.pid, **fields)

    def _give_up(self, reason: str, detail: str) -> None:
        self._log("warning", "a runner is killed", reason=reason, detail=detail)
        self.ready = self.accepting = False
        self.kill()
        if self.exclusive and not self.gone:
            self._verdict = reason, detail
        else:
            self.callbacks.failed(reason, detail)

    def _not_ended(self) -> None:
        self.stuck = True
        self.stuck_changed()
        if self._verdict is not None:
            reason, detail = self._verdict
            self._tell(ACCELERATOR_HUNG, f"{reason}: {detail}; {self.stuck_detail}")

    def _tell(self, reason: str, detail: str) -> None:
        self._verdict = None
        self.callbacks.failed(reason, detail)

    @property
    def stuck_detail(self) -> str:
        """What is wrong with a process that does not end."""
        return f"process {self.pid} was killed and does not end: it is stuck in the kernel"


def _nothing() -> None:
    """Nobody wants to know."""


def _nobody(_result: Result) -> None:
    """The default of `Service.result`."""
