"""Notices when somebody else writes over the orders that the plane has published. Publishes nothing itself.

The plane hears its own messages come back. Until that of a topic has, whatever is heard there is from before, and ours
has replaced it already; afterwards every other payload is somebody else's. Which is then put right is bounded: a few at
once, and of one topic less and less often while it goes on, for two planes with one broker would do it for ever.
With access rules at the broker nobody but the plane can write there, and this finds nothing.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from skerry_host.plane.broker.link import Incoming

AT_ONCE = 50
FIRST_S, LONGEST_S = 1.0, 10.0
"""How long until a topic is put right once more: twice as long each time, at most so long."""
FORGOTTEN_S = 600.0
MOST = 10_000
"""So many topics that were written over are remembered."""


@dataclass(slots=True)
class _Published:
    """What we have published last on a topic, and whether it has come back."""

    digest: bytes
    heard: bool = False


@dataclass(slots=True)
class Overwritten:
    """A topic that somebody else has written; `last` is the digest of that. `waits_s` until it is put right again."""

    topic: str
    last: bytes
    at: float
    due: float
    waits_s: float = FIRST_S
    open: bool = True


class Tampering:
    """What was published and what is heard; used by two threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._published: dict[str, _Published] = {}
        self._overwritten: dict[str, Overwritten] = {}

    def connected(self) -> None:
        """There is a new connection: nothing that was published before counts, for all of it is published again."""
        with self._lock:
            self._published = {}

    def publishing(self, topic: str, payload: bytes) -> None:
        """From now on this is what the topic should hold."""
        with self._lock:
            self._published[topic] = _Published(digest(payload))

    def heard(self, message: Incoming) -> None:
        """Something was published on a topic of ours, by whomever."""
        with self._lock:
            ours, found = self._published.get(message.topic), digest(message.payload)
            if ours is None:
                if not message.retained and message.payload:
                    self._note(message.topic, found)
            elif found == ours.digest:
                ours.heard = True
            elif ours.heard:
                self._note(message.topic, found)

    def due(self) -> list[Overwritten]:
        """What is to be put right now."""
        now = self._clock()
        with self._lock:
            for topic in [topic for topic, each in self._overwritten.items() if abs(now - each.at) > FORGOTTEN_S]:
                del self._overwritten[topic]
            ready = [each for each in self._overwritten.values() if each.open and self._is_due(each, now)]
            for each in ready[:AT_ONCE]:
                each.open, each.due, each.waits_s = False, now + each.waits_s, min(2 * each.waits_s, LONGEST_S)
            return ready[:AT_ONCE]

    @property
    def pending(self) -> bool:
        """Whether there may be anything to put right."""
        return bool(self._overwritten)

    @staticmethod
    def _is_due(each: Overwritten, now: float) -> bool:
        return now >= each.due or each.due - now > LONGEST_S  # the clock may have been set back

    def _note(self, topic: str, found: bytes) -> None:
        now, known = self._clock(), self._overwritten.get(topic)
        if known is not None:
            known.last, known.at, known.open = found, now, True
        elif len(self._overwritten) < MOST:
            self._overwritten[topic] = Overwritten(topic, found, now, now)


def digest(payload: bytes) -> bytes:
    """What tells one payload from another."""
    return hashlib.sha256(payload).digest()[:16]
