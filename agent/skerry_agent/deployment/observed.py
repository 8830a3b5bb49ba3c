"""What is observed of the runners of one model over time: how often answers are positive, how memory grows.

Kept in memory only: a restart of the agent begins anew, and knows nothing of the load. Judges nothing: `machine` does.
"""

from collections import deque

from skerry_agent.machine.memory_growth import Growth, Point, memory_growth
from skerry_agent.machine.positives import Looks, Seen, find_alarm
from skerry_agent.ports.runner_protocol import Heartbeat, Job

WARM_UP_S = 10.0
"""Of a candidate: caches fill, threads begin. After a commit it is `SETTLED_S`."""
SETTLED_S = 600.0
POINT_S, POINTS = 60.0, 240
"""A committed model's memory is looked at once a minute, the least of it, over four hours at most."""
LEAST_SPAN_S = 3600.0
"""What grows is said after an hour of it, at the earliest."""
ALARM_LIMIT = 750.0
"""Bytes a second, 65 MB a day: what surely grows faster is said."""
LEAST_GROWN = 2 * 1024 * 1024


class MemoryLog:
    """Resident memory over time: the least in each span of `span_s`, from `warm_s` after the first heartbeat on."""

    def __init__(self, warm_s: float, span_s: float, spans: int) -> None:
        self._warm_s, self._span_s = warm_s, span_s
        self._points: deque[Point] = deque(maxlen=spans)
        self._began: float | None = None

    def add(self, now: float, rss_bytes: int) -> None:
        """The memory at one moment."""
        if self._began is None:
            self._began = now
        if now - self._began < self._warm_s:
            return
        if self._points and now - self._points[-1][0] < self._span_s:
            at, least = self._points[-1]
            self._points[-1] = at, min(least, rss_bytes)
        else:
            self._points.append((now, rss_bytes))

    def __len__(self) -> int:
        return len(self._points)

    @property
    def span_s(self) -> float:
        """How long it has been looked at."""
        return self._points[-1][0] - self._points[0][0] if self._points else 0.0

    @property
    def growth(self) -> Growth:
        """See `memory_growth`."""
        return memory_growth(self._points)


class Observed:
    """The release that serves, and what the one before had seen of the load when it ended."""

    def __init__(self) -> None:
        self.looks, self._before = Looks(), Seen()
        self._memory = MemoryLog(SETTLED_S, POINT_S, POINTS)
        self._memory_issue = self._nothing_found = ""
        self._release = ""
        self._pid: int | None = None

    @property
    def seen(self) -> Seen:
        """What the release that serves has seen of the load; while it has hardly looked, what the one before had."""
        seen = self.looks.seen
        return seen if seen.looks >= self._before.looks else self._before

    def heartbeat(self, now: float, job: Job, pid: int, heartbeat: Heartbeat) -> None:
        """A heartbeat of the runner that serves. Another release or another process begins anew."""
        if job.release != self._release:
            self.committed(job.release, Looks())
        if pid != self._pid:
            self._memory, self._pid, self._memory_issue = MemoryLog(SETTLED_S, POINT_S, POINTS), pid, ""
        self.looks.add(now, heartbeat.judged, heartbeat.positives)
        baseline = job.bundle.baseline
        nothing = find_alarm(self.looks, baseline.positive_rate if baseline is not None else None, self._before)
        self._nothing_found = _as_first_said(self._nothing_found, nothing)
        before = len(self._memory)
        self._memory.add(now, heartbeat.rss_bytes)
        if len(self._memory) != before:
            self._memory_issue = _as_first_said(self._memory_issue, _memory_issue(self._memory))

    def committed(self, release: str, looks: Looks) -> None:
        """A candidate serves from now on, with what it has found on probation."""
        self._before, self.looks, self._release = self.seen, looks, release
        self._nothing_found = ""

    @property
    def issues(self) -> tuple[str, ...]:
        """Codes with what was found, for status and twin."""
        nothing = f"no_positive_output: {self._nothing_found}" if self._nothing_found else ""
        return tuple(filter(None, (nothing, self._memory_issue)))


def _as_first_said(before: str, now: str) -> str:
    """An issue keeps the figures with which it came: new ones each second would be a new twin each second."""
    return before if before and now else now


def _memory_issue(memory: MemoryLog) -> str:
    if memory.span_s < LEAST_SPAN_S:
        return ""
    growth = memory.growth
    if growth.at_least <= ALARM_LIMIT or growth.grown_bytes < LEAST_GROWN:
        return ""
    return f"memory_growing: {growth} in {memory.span_s / 3600:.1f} h"
