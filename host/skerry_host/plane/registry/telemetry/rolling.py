"""Upkeep of telemetry at rest: rolls reports up, each once, and deletes what has been kept long enough.

Each boot says when it is due. A visit merges the reports of hours that are over into the blocks of all tiers, notes
them in the boot's `rolled_up` in the same transaction, and deletes old ones. So a kill between two visits leaves
nothing counted twice or lost, and a report that comes days late goes into the roll-ups of when it was measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Select, Table, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import Span
from skerry_host.plane.registry.tables import BlockRow, BootRow, ReportRow
from skerry_host.plane.registry.telemetry import boots, reading, rollup
from skerry_host.plane.registry.telemetry.port import HOUR_S, Interval, Retention, StoredReport
from skerry_host.plane.registry.telemetry.rollup import RollUp
from skerry_host.plane.registry.telemetry.spans import without

BLOCK = 36
"""Roll-ups in a block."""

MOST_REPORTS = 500
"""A visit rolls up at most so many reports, and deletes at most so many: no write takes long."""

MOST_BYTES = 1024 * 1024
"""Or reports of so many bytes: unpacked they take ten times as much memory, and more."""

MOST_BLOCKS = 100
"""So many blocks are deleted at a time."""

KEEP_BOOTS_S = 30 * 86_400.0
"""How long after its last report a boot is known; a report of it that came later would count as new."""

BLOCKS = cast("Table", BlockRow.__table__)
BOOTS = cast("Table", BootRow.__table__)
REPORTS = cast("Table", ReportRow.__table__)


def visit_due(session: Session, now: float, most: int, retention: Retention) -> int:
    """Do what is due, of at most so many boots; returns how many were due."""
    query = select(BootRow).where(BootRow.due <= now).order_by(BootRow.due).limit(most)
    due = session.scalars(query).all()
    for row in due:
        _visit(session, row, now, retention)
    return len(due)


def expire_blocks(session: Session, now: float, retention: Retention) -> int:
    """Delete some of the oldest blocks of each tier; returns how many."""
    gone = 0
    for tier in retention.tiers:
        before = now - tier.keep_s - BLOCK * tier.period_s
        old = select(BLOCKS.c.id).where(BLOCKS.c.period_s == tier.period_s, BLOCKS.c.started < before)
        ids = session.scalars(old.order_by(BLOCKS.c.started).limit(MOST_BLOCKS)).all()
        session.execute(delete(BLOCKS).where(BLOCKS.c.id.in_(ids)))
        gone += len(ids)
    return gone


def joined() -> Select[Any]:
    """Reports, with what is needed of their boots to read them."""
    b, r = BOOTS.c, REPORTS.c
    columns = (b.device, b.boot, b.zero_by_arrival, b.zero_by_clock, r.sequence, r.started, r.received, r.body)
    return select(*columns).join_from(BOOTS, REPORTS, r.boot == b.id)


def pending(session: Session, boot: BootRow, after: int = -1) -> tuple[list[Any], int]:
    """The first rows of a boot that are not rolled up, in order; and up to which sequence these are all."""
    rows: list[Any] = []
    left = MOST_BYTES
    for row in _pending_rows(session, boot, after):
        rows.append(row)
        left -= len(row.body)
        if len(rows) == MOST_REPORTS or left <= 0:
            return rows, row.sequence
    return rows, boot.newest


def _pending_rows(session: Session, boot: BootRow, after: int) -> Iterator[Any]:
    for first, last in without(boots.decode_spans(boot.spans), boots.decode_spans(boot.rolled_up)):
        if last <= after:
            continue
        span = REPORTS.c.sequence.between(max(first, after + 1), last)
        query = joined().where(BOOTS.c.id == boot.id, span).order_by(REPORTS.c.sequence)
        with session.execute(query.limit(MOST_REPORTS)) as rows:
            yield from rows


def rolled_up(reports: Iterable[StoredReport], period_s: int) -> list[RollUp]:
    """Reports as roll-ups, one for each period."""
    periods: defaultdict[int, list[Interval]] = defaultdict(list)
    for report in reports:
        periods[int(report.started // period_s)].append(report.interval)
    return [rollup.of_intervals(number, intervals) for number, intervals in periods.items()]


def coarser(parts: Iterable[RollUp], periods: int) -> list[RollUp]:
    """Roll-ups of so many times the period, or of the same: one for each, in order."""
    wholes: defaultdict[int, list[RollUp]] = defaultdict(list)
    for part in parts:
        wholes[part.number // periods].append(part)
    return [rollup.merged(number, wholes[number]) for number in sorted(wholes)]


def by_block(rolled: Iterable[RollUp], period_s: int) -> dict[int, list[RollUp]]:
    """Roll-ups by the time when their block begins."""
    blocks: defaultdict[int, list[RollUp]] = defaultdict(list)
    for each in rolled:
        blocks[each.number // BLOCK * BLOCK * period_s].append(each)
    return blocks


def _visit(session: Session, boot: BootRow, now: float, retention: Retention) -> None:
    if boot.touched < now - KEEP_BOOTS_S:
        session.execute(delete(REPORTS).where(REPORTS.c.boot == boot.id))
        session.delete(boot)
        return
    rows, end = pending(session, boot)
    found = list(reading.stored_reports(rows))
    waiting = [report for report in found if _ripe(boot, report) > now]
    ripe = [report for report in found if _ripe(boot, report) <= now]
    _merge(session, boot.device, ripe, now, retention)
    held: list[Span] = [(report.sequence, report.sequence) for report in waiting]
    if end < boot.newest:
        held.append((end + 1, boot.newest))
    before, boot.rolled_up = boot.rolled_up, boots.encode_spans(without(boots.decode_spans(boot.spans), held))
    first_held = min((first for first, _ in held), default=boot.newest)
    deleted = _delete_old(session, boot, first_held, now - retention.reports_s)
    again = (end < boot.newest and boot.rolled_up != before) or deleted == MOST_REPORTS
    boot.due = now if again else _next(session, boot, waiting, now, retention)


def _ripe(boot: BootRow, report: StoredReport) -> float:
    return report.received + boots.SETTLED_S if report.clock == "host" else boots.ripe(boot.id, report.started)


def _merge(session: Session, device: str, ripe: Sequence[StoredReport], now: float, retention: Retention) -> None:
    """Merge reports into the blocks of all tiers that still keep their time."""
    finest_s = retention.tiers[0].period_s
    finest = rolled_up(ripe, finest_s)
    for tier in retention.tiers:
        kept = [each for each in finest if each.number * finest_s > now - tier.keep_s]
        new = by_block(coarser(kept, tier.period_s // finest_s), tier.period_s)
        known = {row.started: row for row in session.execute(_blocks(device, tier.period_s, list(new)))}
        changed: list[dict[str, object]] = []
        made: list[dict[str, object]] = []
        for started, parts in new.items():
            row = known.get(started)
            body = rollup.pack_block(coarser([*(reading.block(device, row.body) if row else ()), *parts], 1))
            if row:
                changed.append({"block": row.id, "new": body})
            else:
                made.append({"device": device, "period_s": tier.period_s, "started": started, "body": body})
        if changed:
            session.execute(
                update(BLOCKS).where(BLOCKS.c.id == bindparam("block")).values(body=bindparam("new")), changed
            )
        if made:
            session.execute(insert(BLOCKS), made)


def _blocks(device: str, period_s: int, starts: Sequence[int]) -> Select[int, int, bytes]:
    query = select(BLOCKS.c.id, BLOCKS.c.started, BLOCKS.c.body)
    return query.where(BLOCKS.c.device == device, BLOCKS.c.period_s == period_s, BLOCKS.c.started.in_(starts))


def _delete_old(session: Session, boot: BootRow, held: int, before: float) -> int:
    """Delete reports that are rolled up and were received before a time, but never the newest one of the boot."""
    c = REPORTS.c
    old = (c.boot == boot.id, c.sequence < min(held, boot.newest), c.received < before)
    gone = session.scalars(select(c.sequence).where(*old).order_by(c.sequence).limit(MOST_REPORTS)).all()
    if gone:
        session.execute(delete(REPORTS).where(*old, c.sequence <= gone[-1]))
    return len(gone)


def _next(session: Session, boot: BootRow, waiting: Sequence[StoredReport], now: float, retention: Retention) -> float:
    """When there will be something to do: to roll up, to delete a report, or to forget the boot."""
    c = REPORTS.c
    query = select(c.received).where(c.boot == boot.id, c.sequence < boot.newest).order_by(c.sequence).limit(1)
    oldest = session.scalar(query)
    last = boot.touched + KEEP_BOOTS_S if oldest is None else max(oldest + retention.reports_s, now + HOUR_S)
    return min([last, *(_ripe(boot, report) for report in waiting)])
