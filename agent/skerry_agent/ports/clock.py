"""The supervisor's one queue: calls from other threads and timers, run in order in one thread."""

import heapq
import itertools
import os
import queue
import time
from collections.abc import Callable
from pathlib import Path

PLAUSIBLE_WALL_S = 1_700_000_000.0
"""A clock before 2023 has never been set, so nothing counts as expired by it."""


_ZONES = Path("/usr/share/zoneinfo")
_SYSTEM_ZONE = os.environ.get("TZ")

TOLERATED_S = 300.0
"""By so much this device's clock may differ from the host's, and is still gone by."""


class HostOffset:
    """How far the host's time is from this device's clock, where they differ by more than is tolerated. Pure.

    Once somebody sets the clock it is gone by again: that jump shows against the monotonic clock.
    """

    def __init__(self) -> None:
        self._offset_s = self._apart = 0.0

    def learn(self, host: float, wall: float, monotonic: float) -> None:
        """The host says that it is `host`."""
        self._offset_s = host - wall if abs(host - wall) > TOLERATED_S else 0.0
        self._apart = wall - monotonic

    def corrected(self, wall: float, monotonic: float) -> float:
        """The time, by all that is known."""
        if self._offset_s and abs(wall - monotonic - self._apart) > TOLERATED_S:
            self._offset_s = 0.0
        return wall + self._offset_s


def has_time_zone(name: str) -> bool:
    """Whether this machine knows a time zone, as tzfile(5); the C library takes UTC for one that it does not."""
    try:
        with (_ZONES / name).open("rb") as file:
            return file.read(4) == b"TZif"
    except OSError:
        return False


def use_time_zone(name: str | None) -> None:
    """Go by a time zone from now on, in local times of this process and of those that it starts; None: the system's."""
    wanted = name or _SYSTEM_ZONE
    if wanted is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = wanted
    time.tzset()


class _Timer:
    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None] | None) -> None:
        self.call = call

    def cancel(self) -> None:
        self.call = None


class EventQueue:
    """The `Clock` port and `post`, over the real clocks."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._running = True
        self._offset = HostOffset()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` soon in the queue's thread; safe from any thread and from a signal handler."""
        self._calls.put(call)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, as the host says where this device's clock is wrong."""
        return self._offset.corrected(time.time(), time.monotonic())

    def system_wall(self) -> float:
        """Seconds since 1970, as the board's own clock has it: TLS goes by that."""
        return time.time()

    def host_says(self, wall: float) -> None:
        """The host's time, of now, verified: gone by until the board's clock is set. Sets no clock."""
        self._offset.learn(wall, time.time(), time.monotonic())

    def after(self, seconds: float, call: Callable[[], None]) -> _Timer:
        """Run `call` later."""
        timer = _Timer(call)
        heapq.heappush(self._timers, (self.monotonic() + seconds, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Run calls and timers until `stop`."""
        while self._running:
            try:
                call = self._calls.get(timeout=self._until_next_timer())
            except queue.Empty:
                self._run_due_timers()
            else:
                call()
                self._run_due_timers()

    def stop(self) -> None:
        """Let `run` return after the call that is running."""
        self._running = False

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self.monotonic()) if self._timers else None

    def _run_due_timers(self) -> None:
        """Those that are due now: what they start anew waits behind the calls, however long they take."""
        now = self.monotonic()
        while self._running and self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2].call
            if call is not None:
                call()
