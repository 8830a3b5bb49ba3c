"""Requests for an identity that wait to be answered: whoever asks too often gives way, and only he.

Anybody who has a stolen claim may ask as fast as a broker takes it. So many requests of one principal are taken, and
the rest is dropped before anything of it is looked at: a board that was in earnest asks again. Of all together the link
reads no more than a plane can drop beside its work, and the rest waits at the broker, or is dropped there.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from skerry_agent.wire import topics
from skerry_agent.wire.errors import WireError
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.drop_log import DropLog

RATE_S, BURST = 20.0, 200.0
"""Requests of one principal a second, and at once: a batch of boards that are switched on together."""

READ_RATE_S, READ_BURST = 1000.0, 1000.0
"""Messages of all together that are read a second, most of them to be dropped."""

MAX_WAITING = 1000
MAX_PRINCIPALS = 4096
"""So many are told apart; with more, whoever is new shares the allowance of all that are."""

log = logging.getLogger(__name__)


class Bucket:
    """Lets through so many a second, and so many at once, by the time that it is told."""

    def __init__(self, rate_s: float, burst: float, now: float) -> None:
        self._rate_s, self._burst = rate_s, burst
        self._left, self._at = burst, now

    def take(self, now: float) -> bool:
        """Whether one more may pass."""
        if not self.has_one(now):
            return False
        self._left -= 1.0
        return True

    def has_one(self, now: float) -> bool:
        """Whether `take` would let one pass."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate_s)
        self._at = now
        return self._left >= 1.0


class Requests:
    """Filled by the link's thread, emptied by the one that answers. `dropped` counts by principal, until it is read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[Incoming] = deque()
        self._buckets: dict[str, Bucket] = {}
        self._reading = Bucket(READ_RATE_S, READ_BURST, clock())
        self._dropped: Counter[str] = Counter()
        self._log = DropLog(log, "their sender asks too often", clock)
        self._closed = False

    def put(self, message: Incoming) -> None:
        """Keep a request, or drop it; never waits."""
        now = self._clock()
        try:
            principal, _ = topics.enrolment_of(message.topic)
        except WireError:
            principal = ""
        with self._changed:
            self._reading.take(now)
            if principal and len(self._waiting) < MAX_WAITING and self._bucket(principal, now).take(now):
                self._waiting.append(message)
                self._changed.notify_all()
                return
            self._dropped[principal if principal in self._buckets else ""] += 1
        self._log.note(principal or "a topic without a principal")

    def has_room(self, timeout_s: float = 0.0) -> bool:
        """Whether more should be read; waits so long until it should."""
        with self._changed:
            if timeout_s and not self._reading.has_one(self._clock()):
                self._changed.wait_for(lambda: self._closed, timeout_s)
            return self._closed or self._reading.has_one(self._clock())

    def take(self) -> Incoming | None:
        """The oldest, as soon as there is one; None once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popleft()

    def take_dropped(self) -> Counter[str]:
        """How many were dropped of each principal since this was asked last."""
        with self._changed:
            dropped, self._dropped = self._dropped, Counter()
            return dropped

    def close(self) -> None:
        """Wake whoever waits; what waits is not answered, so whoever sent it asks again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _bucket(self, principal: str, now: float) -> Bucket:
        if principal not in self._buckets:
            if len(self._buckets) >= MAX_PRINCIPALS:
                principal = ""
            self._buckets.setdefault(principal, Bucket(RATE_S, BURST, now))
        return self._buckets[principal]
