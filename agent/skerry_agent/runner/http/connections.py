"""The open connections of a server: which the kernel watches for what, and who has a place, also for a large body.

Any thread may use it. Whose time is over and who gives way is `skerry_agent.runner.http.crowd`'s; reads and answers
nothing.
"""

import resource
import select
import sys
import threading
from collections import deque
from time import monotonic

from skerry_agent.runner.http.connection import Connection
from skerry_agent.runner.http.crowd import Crowd, Limits, Phase

_DESCRIPTORS_KEPT = 64
_CROWDED_POLL_S, _BUSY_POLL_S = 0.1, 1.0
_READABLE, _WRITABLE = select.EPOLLIN | select.EPOLLONESHOT, select.EPOLLOUT | select.EPOLLONESHOT


class Connections:
    """All of them. The kernel tells of a connection once, then not until `wait_for` says again for what it waits."""

    def __init__(self, poller: select.epoll, limits: Limits) -> None:
        self._poller = poller
        self._limit = min(limits.connections, most_connections())
        self._lock = threading.Lock()
        self._crowd: Crowd[Connection] = Crowd(limits)
        self._by_file: dict[int, Connection] = {}
        self._all_places = self._places = limits.large_bodies
        self._held: deque[Connection] = deque()

    def __len__(self) -> int:
        return len(self._by_file)

    @property
    def full(self) -> bool:
        """Whether somebody must leave before another may come."""
        return len(self._by_file) >= self._limit

    def find(self, file: int) -> Connection | None:
        """The connection of a descriptor."""
        return self._by_file.get(file)

    def phase(self, one: Connection) -> Phase | None:
        """What it waits for; None when it is closed."""
        return self._crowd.phase(one)

    def add(self, one: Connection) -> None:
        """A client has come."""
        with self._lock:
            self._by_file[one.file] = one
            self._crowd.enter(one, Phase.SILENT, monotonic())
            self._poller.register(one.file, _READABLE)

    def enter(self, one: Connection, phase: Phase) -> None:
        """It is in another phase now, in the hands of the thread that says so: the kernel does not watch it."""
        with self._lock:
            self._crowd.enter(one, phase, monotonic())

    def wait_for(self, one: Connection, phase: Phase) -> None:
        """It is in nobody's hands: the kernel tells of it, unless its time is over before."""
        with self._lock:
            self._crowd.enter(one, phase, monotonic())
            self._poller.modify(one.file, _WRITABLE if phase is Phase.TAKING else _READABLE)

    def close(self, one: Connection) -> None:
        """It is over; whoever waits for its place gets it."""
        with self._lock:
            if self._crowd.phase(one) is None:
                return
            self._crowd.leave(one)
            del self._by_file[one.file]
            self._poller.unregister(one.file)
            one.close()
        self.free_place(one)

    # -- time ----------------------------------------------------------------------------------------------------------

    def end(self, at: float) -> None:
        """See `Crowd.end`."""
        with self._lock:
            self._crowd.end(at)

    def expired(self, now: float) -> list[tuple[Connection, Phase]]:
        """Those that are over time, each with its phase."""
        with self._lock:
            return self._crowd.expired(now)

    def timeout_s(self, now: float) -> float | None:
        """How long nobody needs to look; None: until something happens. What other threads do may become due."""
        with self._lock:
            look_at, busy, held = self._crowd.look_at, self._crowd.count(Phase.SERVED), self._held
        timeout_s = None if look_at is None else max(0.0, look_at - now)
        if held and (timeout_s is None or timeout_s > _CROWDED_POLL_S):
            return _CROWDED_POLL_S
        return _BUSY_POLL_S if busy and (timeout_s is None or timeout_s > _BUSY_POLL_S) else timeout_s

    @property
    def crowded(self) -> bool:
        """Whether some are held for want of a place."""
        return bool(self._held)

    # -- room ----------------------------------------------------------------------------------------------------------

    def giving_way(self) -> tuple[Connection, Phase] | None:
        """See `Crowd.giving_way`."""
        with self._lock:
            return self._crowd.giving_way(monotonic())

    def take_place(self, one: Connection) -> bool:
        """Whether it may bring a large body now; if not, it is held until `next_held`."""
        with self._lock:
            if not one.has_place and not self._places:
                self._crowd.enter(one, Phase.HELD, monotonic())
                self._held.append(one)
                return False
            self._places -= not one.has_place
            one.has_place = True
            return True

    def free_place(self, one: Connection) -> bool:
        """Its large body is done with; True when another waits for the place."""
        if not one.has_place:
            return False
        with self._lock:
            self._places += 1
            one.has_place = False
            return bool(self._held)

    def next_held(self) -> Connection | None:
        """The one that has waited longest for a place, once there is one; it has it then."""
        with self._lock:
            while self._held and self._places:
                one = self._held.popleft()
                if self._crowd.phase(one) is Phase.HELD:
                    self._places -= 1
                    one.has_place = True
                    self._crowd.enter(one, Phase.ARRIVING, monotonic())
                    return one
        return None

    def dawdling(self, now: float) -> list[Connection]:
        """Those that take their time over a body while others are held for want of a place."""
        with self._lock:
            slow = self._crowd.dawdling(self._all_places, now) if self._held else ()
            return [one for one in slow if one.has_place][: len(self._held)]


def most_connections() -> int:
    """How many leave enough descriptors for everything else in this process, which ends when it can open no file."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - _DESCRIPTORS_KEPT, soft // 2, 1)
