"""The open connections of a server, by what each waits for and since when: which are over time, and which give way.

While there is room, a client may take its time. When there is none, the connection that does least goes first: one
that is closing already, then the longest silent one, then one that has taken more than a moment over a request or an
answer. A request that has arrived is never given up. Pure: it reads no clock and closes nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from math import inf
from typing import Generic, TypeVar

from msgspec import Struct

C = TypeVar("C")


class Phase(IntEnum):
    """What a connection waits for."""

    CLOSING = 0
    """The peer's close, so that unread bytes do not reset a response on its way."""
    SILENT = 1
    """Its first byte."""
    IDLE = 2
    """The next request, after an answer."""
    ARRIVING = 3
    """The rest of a request."""
    TAKING = 4
    """The peer to take an answer."""
    HELD = 5
    """Room for the rest of a request; it is not read meanwhile."""
    SERVED = 6
    """An answer."""


_WORKING = {Phase.ARRIVING, Phase.TAKING, Phase.HELD}
_KEPT = {Phase.HELD, Phase.SERVED}
"""What gives way to nobody."""


class Limits(Struct, frozen=True):
    """How many connections there may be, how many bodies that did not come with their head, and how long phases last.

    `large_bodies` bounds the memory: more are not read. `idle_s` is longer than common clients keep a connection.
    `request_s` is for a request as a whole, headers and body, and `answer_s` for an answer: dripping prolongs nothing.
    `crowded_s` is for both while others wait for the place.
    """

    connections: int = 1000
    large_bodies: int = 64
    idle_s: float = 75.0
    request_s: float = 30.0
    answer_s: float = 30.0
    closing_s: float = 1.0
    crowded_s: float = 3.0


class Crowd(Generic[C]):
    """Connections in the order in which each entered its phase. `now` is in seconds, of a clock that is never set."""

    def __init__(self, limits: Limits) -> None:
        self._limits_s = {
            Phase.CLOSING: limits.closing_s,
            Phase.SILENT: limits.idle_s,
            Phase.IDLE: limits.idle_s,
            Phase.ARRIVING: limits.request_s,
            Phase.TAKING: limits.answer_s,
            Phase.HELD: inf,
        }
        self._crowded_s = limits.crowded_s
        self._since: list[OrderedDict[C, float]] = [OrderedDict() for _ in Phase]
        self._phase: dict[C, Phase] = {}
        self._ends_at: float | None = None
        self.look_at: float | None = None
        """When to ask for who has `expired`, None while nobody can; it may be too early, never too late."""

    def __len__(self) -> int:
        return len(self._phase)

    def phase(self, one: C) -> Phase | None:
        """What it waits for; None when it has left."""
        return self._phase.get(one)

    def count(self, phase: Phase) -> int:
        """How many are in a phase."""
        return len(self._since[phase])

    def enter(self, one: C, phase: Phase, now: float) -> None:
        """It waits for something else from now on; to go on waiting for the same gives it no new time."""
        before = self._phase.get(one)
        if before is phase:
            return
        if before is not None:
            del self._since[before][one]
        self._phase[one] = phase
        self._since[phase][one] = now
        if phase in self._limits_s:
            self._look_by(self._limit(phase, now))

    def leave(self, one: C) -> None:
        """It is closed."""
        del self._since[self._phase.pop(one)][one]

    def end(self, at: float) -> None:
        """Nobody may begin a request after `at`, nor take more than a moment longer over one."""
        self._ends_at = at
        self._look_by(at)

    def expired(self, now: float) -> list[tuple[C, Phase]]:
        """Those that are over time, with their phases; each has to leave, or to enter another one."""
        found, self.look_at = [], None
        for phase in self._limits_s:
            for one, since in self._since[phase].items():
                at = self._limit(phase, since)
                if at > now:
                    self._look_by(at)
                    break
                found.append((one, phase))
        return found

    def giving_way(self, now: float) -> tuple[C, Phase] | None:
        """Who gives its place to another, None when all of them are being served or have only begun."""
        for phase in sorted(self._limits_s.keys() - _KEPT):
            least_s = self._crowded_s if phase in _WORKING else 0.0
            for one in self.lasting(phase, least_s, now):
                return one, phase
        return None

    def lasting(self, phase: Phase, least_s: float, now: float) -> Iterator[C]:
        """Those that have been in a phase for so long, longest first. Nobody may enter or leave it meanwhile."""
        for one, since in self._since[phase].items():
            if now - since < least_s:
                return
            yield one

    def dawdling(self, places: int, now: float) -> Iterator[C]:
        """Those whose request has been arriving for longer than it may while others are held, longest first.

        The more are held for each of the places, the shorter that is, so that nobody is held for long.
        """
        most = self.count(Phase.HELD) / places
        return self.lasting(Phase.ARRIVING, self._crowded_s / max(1.0, most), now)

    def _look_by(self, at: float) -> None:
        if at < inf:
            self.look_at = at if self.look_at is None else min(at, self.look_at)

    def _limit(self, phase: Phase, since: float) -> float:
        """When a connection that has been in a phase since then is over time."""
        usual = since + self._limits_s[phase]
        if self._ends_at is None or phase is Phase.CLOSING:
            return usual
        return min(usual, max(self._ends_at, since + self._crowded_s) if phase in _WORKING else self._ends_at)
