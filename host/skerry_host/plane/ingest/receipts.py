"""Tells devices which of their telemetry reports are stored: one small message a device and tick.

Not retained and not repeated: the next receipt, after the next report, makes up for one that is lost.
"""

import queue
from collections.abc import Iterator

from skerry_agent.wire import codec, topics
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import receipts


class Receipts:
    """Sends receipts to the devices that `stored` names; it is filled in another thread."""

    def __init__(self, registry: Registry, link: Link, stored: "queue.SimpleQueue[str]") -> None:
        self._registry, self._link, self._stored = registry, link, stored

    def send(self) -> None:
        """Send what is due; nothing while offline."""
        devices = set(self._drained())
        if not devices or not self._link.connected:
            return
        with self._registry.read() as session:
            made = receipts.of(session, devices)
        self._link.publish(Outgoing(topics.receipt(d), codec.encode(r), retain=False) for d, r in made.items())

    def _drained(self) -> Iterator[str]:
        while True:
            try:
                yield self._stored.get_nowait()
            except queue.Empty:
                return
