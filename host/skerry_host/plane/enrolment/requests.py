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
from skerry_host.plane.token_bucket import Rate, TokenBucket

EACH = Rate(burst=200.0, per_s=20.0)
"""Requests of one principal a second, and at once: a batch of boards that are switched on together."""

ALL = Rate(burst=1000.0, per_s=4000.0)
"""Messages of all together that are read a second, most of them to be dropped: at 50 us each, a fifth of a core."""

MAX_WAITING = 1000
MAX_PRINCIPALS = 4096
"""So many are told apart; with more, whoever is new shares the allowance of all that are."""

log = logging.getLogger(__name__)


class Requests:
    """Filled by the link's thread, emptied by the one that answers. `dropped` counts by principal, until it is read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[Incoming] = deque()
        self._buckets: dict[str, TokenBucket] = {}
        self._reading = TokenBucket(ALL, clock())
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
            self._reading.take(1.0)
            if principal and len(self._waiting) < MAX_WAITING and self._may_pass(principal, now):
                self._waiting.append(message)
                self._changed.notify_all()
                return
            self._dropped[principal if principal in self._buckets else ""] += 1
        self._log.note(principal or "a topic without a principal")

    def has_room(self, timeout_s: float = 0.0) -> bool:
        """Whether more should be read; waits so long until it should."""
        with self._changed:
            if timeout_s and not self._may_read():
                self._changed.wait_for(lambda: self._closed, timeout_s)
            return self._closed or self._may_read()

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

    def _may_read(self) -> bool:
        return self._reading.level(self._clock()) >= 1.0

    def _may_pass(self, principal: str, now: float) -> bool:
        if principal not in self._buckets:
            if len(self._buckets) >= MAX_PRINCIPALS:
                principal = ""
            self._buckets.setdefault(principal, TokenBucket(EACH, now))
        return self._buckets[principal].lets_one_pass(now)
