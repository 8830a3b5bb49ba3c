"""A broker that is a dictionary, behind the agent's port `Link`."""

import itertools
from collections.abc import Callable


class FakeLink:
    """Retained messages in a dictionary; `deliver` hands a subscriber what it would get."""

    def __init__(self, retained: dict[str, bytes] | None = None):
        self.connected = True
        self.connection = 1
        self.why_offline, self.issue = "", None
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
