"""Sends the outbox's reports, a window at a time, and deletes each one once the host has stored it.

The host confirms that by receipts. A report that only the broker has acknowledged stays, because the broker may lose
it; it is sent again, once per connection, when a receipt names a later one. A host from before receipts never sends
any: then a few acknowledged reports stay, and the older ones are deleted.

A report may be sent twice: the host drops duplicates by (device, boot, sequence).
"""

import contextlib
from collections import deque
from pathlib import Path

import msgspec

from skerry_agent.ports.interfaces import Link
from skerry_agent.state.disk import write_atomic
from skerry_agent.state.outbox import Outbox
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.telemetry import Receipt

WINDOW = 20

MAX_UNCONFIRMED = 50
"""How many acknowledged reports are kept if no receipt has ever come."""


class _Identity(msgspec.Struct, frozen=True):
    """What a receipt names a report by."""

    boot: str
    sequence: int


class ReportSender:
    """Sends the reports of an outbox over a link; `marker` is a file that exists once this host has sent a receipt."""

    def __init__(self, outbox: Outbox, link: Link, topic: str, marker: Path) -> None:
        self._outbox, self._link, self._topic, self._marker = outbox, link, topic, marker
        self._receipts = False
        with contextlib.suppress(OSError):  # a disk that does not answer: the first receipt says so again
            self._receipts = marker.exists()
        self._waiting: deque[str] = deque()
        self._in_flight: dict[int, tuple[str, _Identity | None]] = {}
        self._taken: dict[str, _Identity] = {}
        self._sent_again: set[str] = set()

    @property
    def dropped(self) -> int:
        """Reports that were given up since the start."""
        return self._outbox.dropped

    @property
    def waiting(self) -> int:
        """Reports that the host has not stored; without receipts, those that no broker has taken."""
        pending = self._outbox.pending()
        return len(pending) if self._receipts else sum(name not in self._taken for name in pending)

    def link_up(self) -> None:
        """A new connection: nothing of the one before will be acknowledged."""
        self._in_flight.clear()
        self._sent_again.clear()
        self._waiting = deque(name for name in self._outbox.pending() if name not in self._taken)
        self._send()

    def put(self, report: bytes) -> None:
        """Keep a report and send it when its turn comes."""
        try:
            self._waiting.append(self._outbox.put(report))
        except OSError:  # a full disk: this report is lost, and the next one that fits says so
            self._outbox.dropped += 1
        self._send()

    def acked(self, token: int) -> None:
        """The broker has taken a message, of ours or not."""
        if token not in self._in_flight:
            return
        name, identity = self._in_flight.pop(token)
        if identity is None:
            self._outbox.remove(name)  # no receipt could name it
        else:
            self._taken[name] = identity
        self._forget()
        self._send()

    def receipt(self, payload: bytes) -> None:
        """The host has stored reports: they go from the disk, and what is missing among them is sent again."""
        try:
            receipt = codec.decode(payload, Receipt)
        except WireError:  # nobody's receipt: the reports stay
            return
        self._note_receipts()
        stored = [name for name, each in self._taken.items() if receipt.names(each.boot, each.sequence)]
        for name in stored:
            del self._taken[name]
            self._outbox.remove(name)
        newest = max(stored, default="")
        missing = [name for name in sorted(self._taken) if name < newest and name not in self._sent_again]
        for name in missing:
            del self._taken[name]
        self._sent_again.update(missing)
        self._waiting.extendleft(reversed(missing))
        self._send()

    def _note_receipts(self) -> None:
        if not self._receipts:
            self._receipts = True
            with contextlib.suppress(OSError):  # noted at the next start, then
                write_atomic(self._marker, b"")

    def _forget(self) -> None:
        """Of what a broker has taken: what has made room, and what no receipt will name."""
        while self._taken:
            oldest = next(iter(self._taken))
            if oldest in self._outbox and (self._receipts or len(self._taken) <= MAX_UNCONFIRMED):
                return
            del self._taken[oldest]
            self._outbox.remove(oldest)

    def _send(self) -> None:
        while self._waiting and len(self._in_flight) < WINDOW and self._link.connected:
            name = self._waiting.popleft()
            report = self._outbox.read(name)
            token = self._link.publish(self._topic, report) if report is not None else None
            if report is not None and token is not None:
                self._in_flight[token] = name, _identity(report)


def _identity(report: bytes) -> _Identity | None:
    try:
        return msgspec.json.decode(report, type=_Identity)
    except msgspec.DecodeError:
        return None
