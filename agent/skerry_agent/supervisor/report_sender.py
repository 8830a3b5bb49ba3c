"""Sends the outbox's reports, a window at a time, and deletes each one once the host has stored it.

The host confirms that by receipts. A report that only the broker has acknowledged stays, because the broker may lose
it; it is sent again, once per connection, when a receipt names a later one. A host from before receipts never sends
any: then a few acknowledged reports stay, and the older ones are deleted.

A report may be sent twice: the host drops duplicates by (device, boot, sequence). It leaves under the id that the
device has when it is sent: what was counted before enrolment is the device's, too.

Reports are kept as JSON, which every agent and host understands, and packed as they are sent, once a receipt has said
that the host reads the packed form. It is JSON again from the first receipt that does not. A host that cannot read the
reports has nothing to confirm: while no receipt comes, some of them go as JSON, for it to answer.
"""

import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry_agent.ports.interfaces import Link
from skerry_agent.state.disk import write_atomic
from skerry_agent.state.outbox import Outbox, number_of
from skerry_agent.wire import codec, report_forms, topics
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.telemetry import Receipt, Report, Span

WINDOW = 20

MAX_UNCONFIRMED = 50
"""How many acknowledged reports are kept if no receipt has ever come."""

MAX_RECEIPT_BYTES = 64 * 1024
"""Those of a host name a few boots, in a few spans each; a larger one is nobody's."""

MOST_NOTES = 10
"""So often in one run the forms that the host reads are written down: forged receipts must not wear out the disk."""

SILENT, PROBE = 30, 5
"""After so many new reports without a receipt, one in five is sent as JSON."""


class _Identity(msgspec.Struct, frozen=True):
    """What a receipt names a report by."""

    boot: str
    sequence: int
    device: str = ""


class ReportSender:
    """Sends the reports of an outbox over a link.

    `marker` is a file that exists once this host has sent a receipt; it holds the forms that the host reads.
    """

    def __init__(self, outbox: Outbox, link: Link, device: str, marker: Path) -> None:
        self.device = device
        self._outbox, self._link, self._marker = outbox, link, marker
        self._receipts = False
        self._reads: tuple[int, ...] = (report_forms.JSON,)
        with contextlib.suppress(OSError):  # a disk that does not answer: the first receipt says so again
            self._reads = _parse_forms(marker.read_bytes())
            self._receipts = True
        self._unanswered = self._notes = 0
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
        """Reports that no broker has taken yet. Others stay until a receipt comes, which is one for many."""
        return sum(name not in self._taken for name in self._outbox.pending())

    def link_up(self) -> None:
        """A new connection: nothing of the one before will be acknowledged."""
        self._in_flight.clear()
        self._sent_again.clear()
        self._waiting = deque(name for name in self._outbox.pending() if name not in self._taken)
        self._send()

    def put(self, report: bytes) -> None:
        """Keep a report, which is JSON, and send it when its turn comes."""
        self._unanswered += 1
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
            receipt = codec.decode(payload, Receipt, MAX_RECEIPT_BYTES)
        except WireError:  # nobody's receipt: the reports stay
            return
        self._unanswered = 0
        self._note_receipts(receipt.reads or (report_forms.JSON,))
        spans = {each.boot: each.spans for each in receipt.boots}
        stored = [name for name, each in self._taken.items() if _is_in(spans.get(each.boot, ()), each.sequence)]
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

    def _note_receipts(self, reads: tuple[int, ...]) -> None:
        if self._receipts and self._reads == reads:
            return
        self._receipts, self._reads, self._notes = True, reads, self._notes + 1
        if self._notes > MOST_NOTES:
            return
        with contextlib.suppress(OSError):  # noted at the next start, then
            write_atomic(self._marker, " ".join(map(str, reads)).encode())

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
            if report is None:
                continue
            identity = _identity(report)
            if identity is not None and identity.device != self.device:
                report = _under(self.device, report)
            token = self._link.publish(topics.telemetry(self.device), self._in_form(name, report))
            if token is not None:
                self._in_flight[token] = name, identity

    def _in_form(self, name: str, report: bytes) -> bytes:
        probe = self._unanswered >= SILENT and number_of(name) % PROBE == 0
        form = report_forms.JSON if probe else report_forms.best_form(self._reads)
        return report if form == report_forms.JSON else _packed(report, form)


def _is_in(spans: Sequence[Span], sequence: int) -> bool:
    """Whether one of spans that are in order and apart has it: whoever forges receipts may send thousands of spans."""
    place = bisect_right(spans, sequence, key=lambda span: span[0])
    return place > 0 and spans[place - 1][1] >= sequence


def _under(device: str, report: bytes) -> bytes:
    """A report under another id."""
    return msgspec.json.encode({**msgspec.json.decode(report, type=dict[str, object]), "device": device})


def _packed(report: bytes, form: int) -> bytes:
    try:
        return report_forms.encode_report(codec.decode(report, Report), form)
    except WireError:  # of another agent, or a bug: the host says what is wrong with it
        return report


def _parse_forms(marker: bytes) -> tuple[int, ...]:
    """Older agents have noted none."""
    return tuple(int(word) for word in marker.split() if word.isdigit() and len(word) < 4) or (report_forms.JSON,)


def _identity(report: bytes) -> _Identity | None:
    try:
        return msgspec.json.decode(report, type=_Identity)
    except msgspec.DecodeError:
        return None
