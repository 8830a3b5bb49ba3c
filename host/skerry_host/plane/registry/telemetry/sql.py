"""The store of telemetry in the registry, SQLite or PostgreSQL; each method is part of the session's transaction.

A report is stored once because its boot's spans say which are; they outlive the report, so that one that comes again
weeks later is neither stored nor rolled up again. No state is kept between calls.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Select, Table, func, insert, select
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import Report
from skerry_host.plane.registry.tables import BlockRow, BootRow, ReportRow
from skerry_host.plane.registry.telemetry import boots, names, packing, reading, rolling
from skerry_host.plane.registry.telemetry.boots import Boot
from skerry_host.plane.registry.telemetry.packing import Key, Name, RollUp
from skerry_host.plane.registry.telemetry.port import Interval, Retention, StoredReport
from skerry_host.plane.registry.telemetry.reading import RawReport

PART = 5000
"""Devices of one query: SQLite limits its parameters."""

RECENT_BOOTS = 3
"""The newest reports of a device are looked for in so many boots."""

MOST_PENDING = 20_000
"""So many reports of a boot are merged when they are read, if they are not rolled up yet."""

REPORTS = cast("Table", ReportRow.__table__)
BOOTS = cast("Table", BootRow.__table__)
BLOCKS = cast("Table", BlockRow.__table__)
DEFAULT = Retention()


class SqlTelemetry:
    """A `TelemetryStore` over one session of the registry."""

    def __init__(self, session: Session, retention: Retention = DEFAULT) -> None:
        self._session, self._retention = session, retention

    def add(self, reports: Sequence[Report], now: float) -> int:
        """Keep reports of enrolled devices; returns how many were new by (device, boot, sequence).

        Raises `ValueError` or `OverflowError` when one of them cannot be stored.
        """
        if not reports:
            return 0
        known = boots.load(self._session, {(report.device, report.boot) for report in reports}, now)
        fresh = [report for report in reports if known[report.device, report.boot].enter(report, now)]
        if fresh:
            numbered = names.numbered(self._session, (key for report in fresh for key in packing.keys(report)))
            rows = [_row(known[each.device, each.boot], each, numbered, now) for each in fresh]
            self._session.execute(insert(REPORTS), rows)
        boots.store(self._session, known.values())
        return len(fresh)

    def newest(self, devices: Iterable[str] | None = None) -> dict[str, StoredReport]:
        """The newest report of each device (of some, or of all) that has any."""
        found = self._of_boots(devices, boots=1, most=1)
        return {each.device: each for each in reading.stored_reports(self._session, list(found))}

    def recent(self, devices: Iterable[str], most: int) -> dict[str, list[StoredReport]]:
        """The newest reports of some devices, oldest first."""
        by_device: defaultdict[str, list[RawReport]] = defaultdict(list)
        for each in self._of_boots(devices, boots=RECENT_BOOTS, most=most):
            by_device[each.device].append(each)
        newest = [each for rows in by_device.values() for each in sorted(rows, key=_began)[-most:]]
        found: defaultdict[str, list[StoredReport]] = defaultdict(list)
        for report in reading.stored_reports(self._session, newest):
            found[report.device].append(report)
        return dict(found)

    def series(self, device: str, since: float, until: float, period_s: int) -> list[Interval]:
        """A device's intervals that began in some time, oldest first: roll-ups of a tier, or reports (0)."""
        if not period_s:
            raw = sorted(self._since(device, since), key=_began)
            shown = [each for each in raw if since <= each.started < until]
            return [each.interval for each in reading.stored_reports(self._session, shown)]
        rolled = self._rolled_up(device, since, until, period_s)
        for start, parts in rolling.by_block(self._pending(device), period_s).items():
            rolled[start] += parts
        placed = [
            (float(start + each.place * period_s), each)
            for start in sorted(rolled)
            for each in rolling.merged_block(rolled[start])
        ]
        return reading.intervals(self._session, [each for each in placed if since <= each[0] < until])

    def maintain(self, now: float, most: int) -> int:
        """Roll up and delete what is due, of at most so many boots; returns how many were due."""
        due = rolling.visit_due(self._session, now, most, self._retention)
        return due or rolling.expire_blocks(self._session, now, self._retention)

    def _of_boots(self, devices: Iterable[str] | None, boots: int, most: int) -> Iterator[RawReport]:
        """The last reports of each of the newest boots."""
        if devices is None:
            yield from self._read(_last(boots, most))
            return
        chosen = list(devices)
        for start in range(0, len(chosen), PART):
            yield from self._read(_last(boots, most, chosen[start : start + PART]))

    def _since(self, device: str, since: float) -> Iterator[RawReport]:
        """The reports of the boots that lasted until some time, or longer."""
        mine = _joined().where(BOOTS.c.device == device, BOOTS.c.newest_ended >= since)
        return self._read(mine)

    def _read(self, query: Select[Any]) -> Iterator[RawReport]:
        return (reading.raw(row, row) for row in self._session.execute(query))

    def _pending(self, device: str) -> Iterator[RawReport]:
        query = select(BootRow).where(BootRow.device == device, BootRow.spans != BootRow.rolled_up)
        for boot in self._session.scalars(query):
            yield from rolling.pending(self._session, boot, MOST_PENDING)[0]

    def _rolled_up(self, device: str, since: float, until: float, period_s: int) -> defaultdict[int, list[RollUp]]:
        """What blocks hold of some time, by when they begin."""
        c = BLOCKS.c
        first = since - rolling.BLOCK * period_s
        query = select(c.started, c.body).where(c.device == device, c.period_s == period_s)
        rows = self._session.execute(query.where(c.started.between(first, until)))
        return defaultdict(list, {started: packing.unpack_block(body) for started, body in rows})


def _joined() -> Select[Any]:
    b, r = BOOTS.c, REPORTS.c
    columns = (b.device, b.boot, b.zero_by_arrival, b.zero_by_clock, r.sequence, r.started, r.received, r.body)
    return select(*columns).join_from(BOOTS, REPORTS, r.boot == b.id)


def _last(boots: int, most: int, devices: Sequence[str] | None = None) -> Select[Any]:
    """The last reports of the newest boots of some devices, or of all."""
    place = func.row_number().over(partition_by=BOOTS.c.device, order_by=BOOTS.c.newest_ended.desc()).label("place")
    chosen = select(BOOTS.c.id, place)
    ranked = (chosen if devices is None else chosen.where(BOOTS.c.device.in_(devices))).subquery()
    newest = select(ranked.c.id).where(ranked.c.place <= boots)
    return _joined().where(BOOTS.c.id.in_(newest), REPORTS.c.sequence > BOOTS.c.newest - most)


def _began(report: RawReport) -> float:
    return report.started


def _row(boot: Boot, report: Report, numbered: Mapping[Key, Name], now: float) -> dict[str, Any]:
    return {
        "boot": boot.id,
        "sequence": report.sequence,
        "started": report.started if boots.plausible(report.started, now) else None,
        "received": now,
        "body": packing.pack(report, numbered),
    }
