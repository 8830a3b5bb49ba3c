"""What is known of each boot of a device: which reports are stored, when it began, and when it is due for upkeep.

Written in bulk, with the reports; says nothing of what is in them.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import Report, Span
from skerry_host.plane.registry.tables import BootRow
from skerry_host.plane.registry.telemetry.port import HOUR_S
from skerry_host.plane.registry.telemetry.spans import holds, joined

EARLIEST_S = 1_700_000_000.0
"""A device that reports an earlier time (2023) has a clock that was never set."""

AHEAD_S = 86_400.0
"""How far a clock may be ahead of the host's before it is not trusted."""

LONGEST_S = 20 * 365 * 86_400.0
"""A device that says it has been up for longer is not believed: its report began so long ago at most."""

GRACE_S = 90.0
"""An hour is rolled up so long after its end, when its last report should have come."""

SPREAD_S = 600
"""The boots of a fleet are due at different times of so many seconds."""

LATE_S = 30.0
"""Reports of an hour that is over are rolled up together when so much time has passed."""

SETTLED_S = 12 * HOUR_S
"""Where the host has to estimate when a report began, it is rolled up after so long: the estimate may get better."""

MAX_JUMP = 2**20
"""So far above the last of its boot a report may be: what came between may be lost, but not years of it."""

PART = 5000
"""So many at a time: SQLite limits the parameters of one query."""

BOOTS = cast("Table", BootRow.__table__)
_SPANS = msgspec.json.Decoder(tuple[Span, ...]).decode
_ENCODE = msgspec.json.Encoder().encode
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Boot:
    """The row of a boot, as it changes with each report; its fields are described there."""

    id: int
    device: str
    boot: str
    touched: float
    spans: tuple[Span, ...] = ()
    closed: int = 0
    newest: int = -1
    newest_ended: float = 0.0
    zero_by_arrival: float = float("inf")
    zero_by_clock: float | None = None
    due: float = float("inf")

    def enter(self, report: Report, now: float) -> bool:
        """Note a report that has come; False when it is stored already.

        Raises `ValueError` for a number that no device can have come to since the last.
        """
        sequence, spans = report.sequence, self.spans
        if spans and sequence > spans[-1][1] + MAX_JUMP:
            raise ValueError(f"sequence {sequence} is more than {MAX_JUMP} above the one before")
        self.touched = now
        if spans and sequence == spans[-1][1] + 1:
            self.spans = (*spans[:-1], (spans[-1][0], sequence))
        elif holds(spans, sequence):
            return False
        else:
            self.spans, closed = joined(spans, (sequence,))
            self.closed += closed
        self._note_times(report, now)
        return True

    def _note_times(self, report: Report, now: float) -> None:
        self.zero_by_arrival = min(self.zero_by_arrival, now - report.uptime_s)
        if plausible(report.started, now):
            ended = report.started + report.duration_s
            self.zero_by_clock = max(self.zero_by_clock or 0.0, ended - report.uptime_s)
            self.due = min(self.due, max(ripe(self.id, report.started), now + LATE_S))
        else:
            ended = zero(self.zero_by_arrival, self.zero_by_clock) + report.uptime_s
            self.due = min(self.due, now + SETTLED_S)
        if report.sequence >= self.newest:
            self.newest, self.newest_ended = report.sequence, min(ended, now)  # nothing ends after it has come


def plausible(started: float, now: float) -> bool:
    """Whether a device's clock can be right."""
    return EARLIEST_S <= started <= now + AHEAD_S


def zero(by_arrival: float, by_clock: float | None) -> float:
    """When a boot's monotonic clock stood at 0.

    A report cannot come before it was made, so that was at the earliest of (received - uptime), or before: late by as
    much as the quickest report took. A clock that was set later in the boot says it to the second.
    """
    return by_arrival if by_clock is None else min(by_arrival, by_clock)


def ripe(boot: int, started: float) -> float:
    """When an interval may be rolled up: its hour is over; not at the same time for all boots."""
    return (started // HOUR_S + 1) * HOUR_S + GRACE_S + boot % SPREAD_S


def key(device: str, boot: str) -> int:
    """The id of a boot: 63 bits of a hash."""
    digest = hashlib.blake2b(f"{device}/{boot}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def load(session: Session, wanted: Collection[tuple[str, str]], now: float) -> dict[tuple[str, str], Boot]:
    """Some (device, boot), for a change; those that are not known yet are new."""
    keys = {key(device, boot): (device, boot) for device, boot in wanted}
    found = {keys[each.id]: each for each in _stored(session, list(keys))}
    return {name: found.get(name) or Boot(number, *name, touched=now) for number, name in keys.items()}


def store(session: Session, changed: Iterable[Boot]) -> None:
    """Write boots, new or known."""
    rows = [_values(each) for each in changed]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(BOOTS)
    kept = ("spans", "closed", "newest", "newest_ended", "zero_by_arrival", "zero_by_clock", "touched", "due")
    fresh = {name: statement.excluded[name] for name in kept}
    session.execute(statement.on_conflict_do_update(index_elements=[BOOTS.c.id], set_=fresh), rows)


def decode_spans(raw: bytes) -> tuple[Span, ...]:
    """Spans as a row holds them; none where they are damaged: one boot must not keep all others from being read."""
    try:
        return _SPANS(raw)
    except msgspec.MsgspecError:
        log.warning("a boot's spans in the registry are damaged: %r", raw[:40])
        return ()


def encode_spans(spans: Iterable[Span]) -> bytes:
    """Spans for a row."""
    return _ENCODE(tuple(spans))


def _stored(session: Session, ids: list[int]) -> Iterator[Boot]:
    c = BOOTS.c
    columns = (c.id, c.device, c.boot, c.touched, c.spans, c.closed, c.newest, c.newest_ended)
    for start in range(0, len(ids), PART):
        query = select(*columns, c.zero_by_arrival, c.zero_by_clock, c.due)
        for row in session.execute(query.where(c.id.in_(ids[start : start + PART]))):
            yield Boot(*row[:4], decode_spans(row[4]), *row[5:])


def _values(boot: Boot) -> dict[str, Any]:
    return {
        "id": boot.id,
        "device": boot.device,
        "boot": boot.boot,
        "spans": _ENCODE(boot.spans),
        "rolled_up": b"[]",
        "closed": boot.closed,
        "newest": boot.newest,
        "newest_ended": boot.newest_ended,
        "zero_by_arrival": boot.zero_by_arrival,
        "zero_by_clock": boot.zero_by_clock,
        "touched": boot.touched,
        "due": boot.due,
    }
