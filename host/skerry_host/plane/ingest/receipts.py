"""Tells devices which of their telemetry reports are stored, and which forms of reports are read here.

One receipt confirms many reports, since it costs as much as one: what comes as a device connects is confirmed at once,
for that shows the device that its host hears it there (a broker that was set from afar is kept by that); later reports
when there are enough of them. What is due is looked at when a report comes. Not retained and not repeated: the next
receipt makes up for one that is lost.
"""

import queue
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from skerry_agent.wire import codec, report_forms, topics
from skerry_agent.wire.telemetry import Receipt
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import receipts

AT_ONCE = 20
"""So many unconfirmed reports are confirmed without delay: a device is sending what has waited on its disk."""

ENOUGH, APART_S = 4, 600.0
"""So many are when the receipt before is that old."""

LONGEST_S = 3600.0
"""Fewer are when it is that old."""

AT_FIRST_S = 15.0
"""So long after a device has connected nothing waits: it first sends what has waited, then what it asks about."""

BOOTS_S = 2 * LONGEST_S
"""A receipt names only boots of which a report came in that time: no others have reports to confirm."""


class Heard(Protocol):
    """What the receiving end has heard, by the ids of devices."""

    stored: "queue.SimpleQueue[str]"
    came: "queue.SimpleQueue[str]"


@dataclass(slots=True)
class Unconfirmed:
    """A device's stored reports since its last receipt, when that was (None: never), and when the device connected."""

    reports: int = 0
    receipt_at: float | None = None
    came_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is worth a receipt; there is at least one report."""
        if self.receipt_at is None or self.reports >= AT_ONCE:
            return True
        if self.came_at is not None and abs(now - self.came_at) < AT_FIRST_S:
            return True
        waited_s = abs(now - self.receipt_at)  # either way: a clock that is set back must not hold receipts up
        return waited_s >= (APART_S if self.reports >= ENOUGH else LONGEST_S)


class Receipts:
    """Sends receipts to the devices that `stored` names, each as often as it has a report; another thread fills it.

    That thread also says in `came` which devices have connected.
    """

    def __init__(self, registry: Registry, link: Link, heard: "Heard", clock: Callable[[], float]) -> None:
        self._registry, self._link, self._heard, self._clock = registry, link, heard, clock
        self._devices: dict[str, Unconfirmed] = {}

    def send(self) -> None:
        """Send what is due; nothing while offline."""
        now = self._clock()
        stored = Counter(_drained(self._heard.stored))
        for device in _drained(self._heard.came):  # read second: what it came with may be among what is stored
            self._devices.setdefault(device, Unconfirmed()).came_at = now
        due = [device for device, reports in stored.items() if self._count(device, reports, now)]
        if not due or not self._link.connected:
            return
        with self._registry.read() as session:
            made = receipts.of(session, due, since=now - BOOTS_S)
        if self._link.publish(self._message(device, receipt) for device, receipt in made.items()):
            for device in made:
                self._devices[device].reports, self._devices[device].receipt_at = 0, now

    def _count(self, device: str, reports: int, now: float) -> bool:
        """Whether a receipt is due with these reports."""
        unconfirmed = self._devices.setdefault(device, Unconfirmed())
        unconfirmed.reports += reports
        return unconfirmed.is_due(now)

    @staticmethod
    def _message(device: str, receipt: Receipt) -> Outgoing:
        return Outgoing(topics.receipt(device), codec.encode(replace(receipt, reads=report_forms.READ)), retain=False)


def _drained(names: "queue.SimpleQueue[str]") -> Iterator[str]:
    while True:
        try:
            yield names.get_nowait()
        except queue.Empty:
            return
