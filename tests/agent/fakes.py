"""Fakes behind the agent's ports: time turned by hand, a broker that is a dictionary, processes that are scripts."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from skerry_agent.ports.interfaces import RunnerListener
from skerry_agent.ports.jobs import Answer, UpdaterJob
from skerry_agent.ports.runner_protocol import (
    Accept,
    Accepting,
    Beat,
    Drain,
    Drained,
    Job,
    Loaded,
    Proved,
    Stop,
    ToRunner,
)
from skerry_agent.wire.sketch import Recorder


class FakeTimer:
    def __init__(self, call):
        self.call = call

    def cancel(self):
        self.call = None


class FakeClock:
    """Time stands still until `advance`."""

    def __init__(self):
        self.now = 1000.0
        self._timers = []
        self._order = itertools.count()

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now + 1_700_000_000

    def after(self, seconds, call):
        timer = FakeTimer(call)
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), timer))
        return timer

    def advance(self, seconds):
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if timer.call is not None:
                timer.call()
        self.now = end


class FakeLink:
    """Retained messages in a dictionary; `deliver` hands a subscriber what it would get."""

    def __init__(self, retained: dict[str, bytes] | None = None):
        self.connected = True
        self.connection = 1
        self.retained = dict(retained or {})
        self.subscribed: set[str] = set()
        self.published: list[tuple[str, bytes]] = []
        self.most_subscribed = 0
        self.renewed = 0
        self._tokens = itertools.count(1)

    def publish(self, topic, payload, *, retain=False):
        if not self.connected:
            return None
        self.published.append((topic, payload))
        if retain:
            self.retained[topic] = payload
        return next(self._tokens)

    def subscribe(self, topics):
        self.subscribed |= set(topics)
        self.most_subscribed = max(self.most_subscribed, len(self.subscribed))

    def unsubscribe(self, topics):
        self.subscribed -= set(topics)

    def renew(self):
        self.renewed += 1

    def check(self):
        """It always answers."""

    def pump(self, take: Callable[[str, bytes], object], limit: int = 100_000) -> int:
        """Deliver retained messages until nothing that is subscribed is retained; how many were delivered."""
        delivered = 0
        while delivered < limit:
            ready = sorted(t for t in self.subscribed if t in self.retained)
            if not ready:
                break
            take(ready[0], self.retained[ready[0]])
            delivered += 1
        return delivered


@dataclass
class FakeRunner:
    job: Job
    listener: RunnerListener
    pid: int = 4242
    sent: list[ToRunner] = field(default_factory=list)
    killed: bool = False

    def send(self, message):
        self.sent.append(message)

    def kill(self):
        self.killed = True

    def prove(self):
        self.listener.heard(Loaded(1000.0, 1_000_000, "ai-edge-litert", "2.3.0", "XNNPACK"))
        self.listener.heard(Proved(16, 0, 1.0))

    def follow(self):
        """Do what it was told, as a good runner does."""
        while self.sent:
            match self.sent.pop(0):
                case Accept():
                    self.listener.heard(Accepting())
                case Drain():
                    self.listener.heard(Drained())
                case Stop():
                    self.listener.exited("crashed", "exit status 0")

    def beat(self, inferences=0, latency_us=100.0, **changes):
        recorder = Recorder()
        for _ in range(inferences):
            recorder.add(latency_us)
        values = {"errors": 0, "invalid_outputs": 0, "dropped": 0, "busy_s": 0.0, "rss_bytes": 1, "cpu_s": 0.0}
        self.listener.heard(Beat(inferences=inferences, latency=recorder.take(), **(values | changes)))


class FakeProcesses:
    """Remembers what was started, and who asked; `answers` gives the updater's answer to a job, None for later."""

    def __init__(self, answers: Callable[[UpdaterJob], Answer | None]):
        self.runners: list[FakeRunner] = []
        self.jobs: list[UpdaterJob] = []
        self.askers: list[Callable[[Answer], None]] = []
        self._answers = answers

    def start_runner(self, job, listener):
        runner = FakeRunner(job, listener)
        self.runners.append(runner)
        return runner

    def run_updater(self, job, answer):
        self.jobs.append(job)
        self.askers.append(answer)
        result = self._answers(job)
        if result is not None:
            answer(result)
        return lambda: None
