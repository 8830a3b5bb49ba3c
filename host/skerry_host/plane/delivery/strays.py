"""Clears what a device has had a broker retain where nothing is ever retained: reports, results, answers, questions.

A broker keeps what is retained for good, also of a device that was revoked, and the topics that a device may write on
are without number: so one could fill the memory and disk of its broker. What is met of that is cleared; of devices
that were revoked it is looked for, once they cannot put it there again. Only what a broker marks as retained is met.
"""

from collections.abc import Callable

from skerry_agent.wire import topics
from skerry_host.plane.broker.link import Incoming, Link, Outgoing
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import changes, identities

KINDS = frozenset({"ask", "renew", "result"})
"""The last part of those topics below `d/` on which devices speak and nothing is retained."""
TELEMETRY, RESULTS = f"{topics.ROOT}/t/", f"{topics.ROOT}/r/"

SETTLED_S = 10.0
"""A device that was revoked so long ago is mute, and its session is over."""
MOST = 10_000
AT_ONCE = 500


class Strays:
    """What was met and is to be cleared; `heard` in any thread, `clear` in the one that publishes."""

    def __init__(self, registry: Registry, link: Link, clock: Callable[[], float]) -> None:
        self._registry, self._link, self._clock = registry, link, clock
        self._found: dict[str, None] = {}
        self._seen = -1
        self._denied: dict[str, float] = {}
        self._looked: set[str] = set()

    def heard(self, message: Incoming) -> bool:
        """Whether it is one of these, or the clearing of one, and so says nothing."""
        if not _is_never_retained(message.topic):
            return False
        if message.retained and message.payload and len(self._found) < MOST:
            self._found[message.topic] = None
        return message.retained or not message.payload

    def clear(self) -> None:
        """Clear what was met, and look for more of devices that were revoked."""
        if not self._link.connected:
            return
        names = list(self._found)[:AT_ONCE]
        if self._link.publish([Outgoing(name, b"") for name in names]):
            for name in names:
                self._found.pop(name, None)
        self._look()

    def _look(self) -> None:
        now = self._clock()
        with self._registry.read() as session:
            seen = changes.now(session).identities
            if seen != self._seen:
                denied = identities.denied(session)
                self._seen, self._looked = seen, self._looked & denied
                self._denied = {name: self._denied.get(name, now) for name in denied - self._looked}
        due = [name for name, since in self._denied.items() if abs(now - since) >= SETTLED_S][:AT_ONCE]
        if due:
            self._link.recall([topic for name in due for topic in _all_of(name)])
        for name in due:
            del self._denied[name]
            self._looked.add(name)


def _all_of(device: str) -> tuple[str, ...]:
    say = (topics.ask, topics.renew, topics.command_result)
    return f"{TELEMETRY}+/{device}", f"{RESULTS}{device}/+", *(of(device) for of in say)


def _is_never_retained(topic: str) -> bool:
    return topic.startswith((TELEMETRY, RESULTS)) or topic.rpartition("/")[2] in KINDS
