"""Tells whether what a device says is new, and whether two speak under its name. Pure; knows no message format.

A device says in each message which boot it is and the how-manieth. Of one boot, numbers only rise, and not by more than
`MAX_JUMP`. A boot that another has replaced never speaks again, but for copies of what it had said: where it does say
something new, two devices have one id. Neither is believed more than the other then, since without keys nobody can
tell them apart; what they say is taken as it comes, and `seen_twice` says so. So one who forges a huge number, or a
boot of his own, does not mute the device: its own numbers, far behind, are the return of a second speaker.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

MAX_JUMP = 2**20
LAG = 1024
"""One that is so far behind is no copy that came late, but another speaker who counts for himself."""
WINDOW_S = 60.0
RETURNS = 2
"""So many returns in that time are two devices: one alone may be a message that a broker has delivered late."""
MOST_BOOTS = 4

Verdict = Literal["next", "returned", "old", "malformed"]
"""`next`: of the boot that spoke last, or of a new one; the number alone decides. `returned`: new, of another."""


@dataclass(frozen=True, slots=True)
class Word:
    """Which boot says something, and its number."""

    boot: str
    sequence: int


class Speakers:
    """What is remembered of those who spoke under each name; bounded, and may be forgotten at any time."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, str], dict[str, int]] = {}
        self._behind: dict[tuple[str, str], Word] = {}
        self._returns: dict[str, deque[float]] = {}

    def judge(self, name: tuple[str, str], said: Word, last: Word | None, now: float) -> Verdict:
        """What to make of the next word under a name (device, kind of message), after the last that was taken."""
        if last is None:
            return "next"
        verdict = self._same(name, said, last) if said.boot == last.boot else self._other(name, said, last)
        if verdict == "returned":
            times = self._returns.setdefault(name[0], deque(maxlen=RETURNS))
            times.append(now)
        return verdict

    def seen_twice(self, device: str, now: float) -> bool:
        """Whether two speak under the name of a device, by those who have returned of late.

        That is then said: it needs as many returns again, so that one that comes late is no second alarm.
        """
        times = self._returns.get(device, ())
        if len(times) < RETURNS or any(abs(now - time) > WINDOW_S for time in times):
            return False
        del self._returns[device]
        return True

    def _same(self, name: tuple[str, str], said: Word, last: Word) -> Verdict:
        if said.sequence > last.sequence + MAX_JUMP:
            return "malformed"
        if said.sequence >= last.sequence - LAG:
            return "next"
        before = self._behind.get(name)
        if before is not None and before.boot == said.boot and said.sequence <= before.sequence:
            return "old"
        self._behind[name] = said
        return "returned"

    def _other(self, name: tuple[str, str], said: Word, last: Word) -> Verdict:
        left = self._left.setdefault(name, {})
        known = left.get(said.boot)
        if known is not None and said.sequence <= known:
            return "old"
        if known is not None and said.sequence > known + MAX_JUMP:
            return "malformed"
        left.pop(said.boot, None)
        left[last.boot] = last.sequence
        while len(left) > MOST_BOOTS:
            del left[next(iter(left))]
        return "next" if known is None else "returned"
