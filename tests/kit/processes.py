"""Runners and updaters that are scripts, behind the agent's port `Processes`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from skerry_agent.ports.interfaces import AcceleratorLook, RunnerListener
from skerry_agent.ports.jobs import Answer, UpdaterJob, Verified, VerifyMessages
from skerry_agent.ports.runner_protocol import (
    Accept,
    Accepting,
    Drain,
    Drained,
    Exercise,
    Exercised,
    Heartbeat,
    Job,
    Loaded,
    Ready,
    Stop,
    ToRunner,
)
from skerry_agent.wire.sketch import Recorder


@dataclass
class FakeRunner:
    job: Job
    listener: RunnerListener
    pid: int = 4242
    sent: list[ToRunner] = field(default_factory=list)
    killed: bool = False
    stopped: bool = False
    exercised_at_hz: float = 0.0

    def send(self, message):
        self.sent.append(message)
        if isinstance(message, Exercise):
            self.exercised_at_hz = message.rate_hz
        elif isinstance(message, Drain | Stop):
            self.exercised_at_hz = 0.0

    def kill(self):
        self.killed, self.exercised_at_hz = True, 0.0

    def validate(self):
        self.listener.received(Loaded(1000.0, 1_000_000, "ai-edge-litert", "2.3.0", "XNNPACK"))
        self.listener.received(Ready(16, 0, 1.0))

    def follow(self):
        """Do what it was told, as a good runner does."""
        while self.sent:
            match self.sent.pop(0):
                case Accept():
                    self.listener.received(Accepting())
                case Drain():
                    self.listener.received(Drained())
                case Stop():
                    self.listener.exited("crashed", "exit status 0")

    def exercised(self, inferences, latency_us=100.0, errors=0, wrong=0, **changes):
        """A heartbeat with nothing but golden inputs."""
        recorder = Recorder()
        for _ in range(inferences):
            recorder.add(latency_us)
        self.heartbeat(exercised=Exercised(inferences, errors, wrong, recorder.take()), **changes)

    def heartbeat(self, inferences=0, latency_us=100.0, **changes):
        recorder = Recorder()
        for _ in range(inferences):
            recorder.add(latency_us)
        values = {"errors": 0, "invalid_outputs": 0, "dropped": 0, "busy_s": 0.0, "rss_bytes": 1, "cpu_s": 0.0}
        self.listener.received(Heartbeat(inferences=inferences, latency=recorder.take(), **(values | changes)))


class FakeProcesses:
    """Remembers what was started, and who asked; `answers` gives the updater's answer to a job, None for later."""

    def __init__(self, answers: Callable[[UpdaterJob], Answer | None]):
        self.runners: list[FakeRunner] = []
        self.jobs: list[UpdaterJob] = []
        self.look = AcceleratorLook(14)
        self.looks = 0
        self.askers: list[Callable[[Answer], None]] = []
        self._answers = answers

    def start_runner(self, job, listener):
        runner = FakeRunner(job, listener)
        self.runners.append(runner)
        return runner

    def run_updater(self, job, answer):
        self.jobs.append(job)
        self.askers.append(answer)
        result = self._answer(job)
        if result is not None:
            answer(result)
        return lambda: None

    def look_at_accelerator(self, answer):
        self.looks += 1
        if self.look is not None:
            answer(self.look)

    def _answer(self, job):
        """Of several messages each is answered as it would be alone."""
        if not isinstance(job, VerifyMessages):
            return self._answers(job)
        each = [self._answers(message) for message in job.messages]
        return None if None in each else Verified(tuple(each))
