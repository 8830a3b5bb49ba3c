"""Tells devices which of their telemetry reports are stored, and which forms of reports are read here.

One receipt confirms many reports, since it costs as much as one: a device's first report is confirmed at once, later
ones when there are enough of them. What is due is looked at when a report comes. Not retained and not repeated: the
next receipt makes up for one that is lost.
"""

import queue
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from skerry_agent.wire import codec, report_forms, topics
from skerry_agent.wire.telemetry import Receipt
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import receipts

T = TypeVar("T")
AT_ONCE = 20
"""So many unconfirmed reports are confirmed without delay: a device is sending what has waited on its disk."""

ENOUGH, APART_S = 4, 600.0
"""So many are when the receipt before is that old."""

LONGEST_S = 3600.0
"""Fewer are when it is that old."""

BOOTS_S = 2 * LONGEST_S
"""A receipt names only boots of which a report came in that time: no others have reports to confirm."""


@dataclass(slots=True)
class Unconfirmed:
    """A device's stored reports since its last receipt, and when that was; None before the first."""

    reports: int = 0
    receipt_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is worth a receipt; there is at least one report."""
        if self.receipt_at is None or self.reports >= AT_ONCE:
            return True
        waited_s = abs(now - self.receipt_at)  # either way: a clock that is set back must not hold receipts up
        return waited_s >= (APART_S if self.reports >= ENOUGH else LONGEST_S)


class Receipts:
    """Sends receipts to the devices that `stored` names, each as often as it has a report; another thread fills it.

    So it does `trials`, with the devices that try settings and until when they may.
    """

    def __init__(
        self,
        registry: Registry,
        link: Link,
        stored: "queue.SimpleQueue[str]",
        clock: Callable[[], float],
        trials: "queue.SimpleQueue[tuple[str, float]] | None" = None,
    ) -> None:
        self._registry, self._link, self._stored, self._clock = registry, link, stored, clock
        self._trials = trials if trials is not None else queue.SimpleQueue()
        self._devices: dict[str, Unconfirmed] = {}
        self._trying: dict[str, float] = {}

    def send(self) -> None:
        """Send what is due; nothing while offline."""
        now, begun = self._clock(), dict(_drained(self._trials))
        self._trying = {device: until for device, until in self._trying.items() if until > now} | begun
        reports = Counter(_drained(self._stored))
        due = {*begun, *(device for device, count in reports.items() if self._count(device, count, now))}
        if not due or not self._link.connected:
            return
        with self._registry.read() as session:
            made = receipts.of(session, due, since=now - BOOTS_S)
        if self._link.publish(self._message(device, receipt) for device, receipt in made.items()):
            self._devices.update({device: Unconfirmed(receipt_at=now) for device in made})

    def _count(self, device: str, reports: int, now: float) -> bool:
        """Whether a receipt is due with these reports."""
        unconfirmed = self._devices.setdefault(device, Unconfirmed())
        unconfirmed.reports += reports
        return device in self._trying or unconfirmed.is_due(now)

    @staticmethod
    def _message(device: str, receipt: Receipt) -> Outgoing:
        return Outgoing(topics.receipt(device), codec.encode(replace(receipt, reads=report_forms.READ)), retain=False)


def _drained(filled: "queue.SimpleQueue[T]") -> Iterator[T]:
    while True:
        try:
            yield filled.get_nowait()
        except queue.Empty:
            return
