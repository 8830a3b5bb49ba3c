"""The store of telemetry in the registry, SQLite or PostgreSQL; each method is part of the session's transaction.

A report is stored once because its boot's spans say which are; they outlive the report, so that one that comes again
weeks later is neither stored nor rolled up again. No state is kept between calls.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Select, Table, func, insert, select
from sqlalchemy.orm import Session

from skerry_host.plane.errors import DurationError
from skerry_host.plane.registry.tables import BlockRow, BootRow, ReportRow
from skerry_host.plane.registry.telemetry import boots, reading, rolling
from skerry_host.plane.registry.telemetry.port import Arrival, Interval, Retention, StoredReport
from skerry_host.plane.registry.telemetry.rollup import RollUp

PART = 5000
"""Devices of one query: SQLite limits its parameters."""

RECENT_BOOTS = 3
"""The newest reports of a device are looked for in so many boots."""

MOST_PENDING_BYTES, MOST_BOOTS = 8_000_000, 500
"""Reports of a device that are not rolled up yet are merged when they are read: so many (20,000), of so many boots."""

REPORTS = cast("Table", ReportRow.__table__)
BOOTS = cast("Table", BootRow.__table__)
BLOCKS = cast("Table", BlockRow.__table__)
DEFAULT = Retention()


class SqlTelemetry:
    """A `TelemetryStore` over one session of the registry."""

    def __init__(self, session: Session, retention: Retention = DEFAULT) -> None:
        self._session, self._retention = session, retention

    def add(self, arrivals: Sequence[Arrival], now: float) -> list[Arrival]:
        """Keep reports of enrolled devices; returns those that were new by (device, boot, sequence)."""
        known = boots.load(self._session, {(each.report.device, each.report.boot) for each in arrivals}, now)
        rows, new = [], []
        for arrival in arrivals:
            report = arrival.report
            boot = known[report.device, report.boot]
            if boot.enter(report, now):
                started = report.started if boots.plausible(report.started, now) else None
                rows.append((boot.id, report.sequence, started, now, arrival.packed))
                new.append(arrival)
        if rows:
            self._session.execute(insert(REPORTS), [dict(zip(REPORTS.c.keys(), row, strict=True)) for row in rows])
        if known:
            boots.store(self._session, known.values())
        return new

    def newest(self, devices: Iterable[str] | None = None) -> dict[str, StoredReport]:
        """The newest report of each device (of some, or of all) that has any."""
        return {each.device: each for each in self._of_boots(devices, boots=1, most=1)}

    def heads(self) -> dict[str, tuple[int, int]]:
        """What tells the newest report of each device from others: its boot's id and its sequence."""
        c = BOOTS.c
        latest = select(c.device, func.max(c.newest_ended).label("ended")).group_by(c.device).subquery()
        same = (c.device == latest.c.device) & (c.newest_ended == latest.c.ended)
        rows = self._session.execute(select(c.device, c.id, c.newest).join(latest, same))
        return {device: (boot, newest) for device, boot, newest in rows}

    def recent(self, devices: Iterable[str], most: int) -> dict[str, list[StoredReport]]:
        """The newest reports of some devices, oldest first."""
        found: defaultdict[str, list[StoredReport]] = defaultdict(list)
        for each in self._of_boots(devices, boots=RECENT_BOOTS, most=most):
            found[each.device].append(each)
        return {device: sorted(reports, key=_began)[-most:] for device, reports in found.items()}

    def reports(self, device: str, since: float, until: float) -> list[StoredReport]:
        """The reports of a device that are kept and began in some time, oldest first."""
        lasting = rolling.joined().where(BOOTS.c.device == device, BOOTS.c.newest_ended >= since)
        return sorted((each for each in self._read(lasting) if since <= each.started < until), key=_began)

    def series(self, device: str, since: float, until: float, period_s: int) -> list[Interval]:
        """A device's intervals that began in some time, oldest first: of each period, or each report (0).

        The period is a multiple of that of a tier: the longest such tier is read. Raises `DurationError` for others.
        """
        if not period_s:
            return [each.interval for each in self.reports(device, since, until)]
        tier_s = self._longest_tier(device, period_s)
        rolled = [*self._rolled_up(device, since, until, tier_s), *self._pending(device, tier_s)]
        shown = [each for each in rolled if since <= each.number * tier_s < until]
        wholes = rolling.coarser(shown, period_s // tier_s)
        return [reading.interval(float(each.number * period_s), each) for each in wholes]

    def maintain(self, now: float, most: int) -> int:
        """Roll up and delete what is due, of at most so many boots; returns how much there was to do."""
        due = rolling.visit_due(self._session, now, most, self._retention)
        return due if due == most else due + rolling.expire_blocks(self._session, now, self._retention)

    def _of_boots(self, devices: Iterable[str] | None, boots: int, most: int) -> Iterator[StoredReport]:
        """The last reports of each of the newest boots."""
        if devices is None:
            yield from self._read(_last(boots, most))
            return
        chosen = list(devices)
        for start in range(0, len(chosen), PART):
            yield from self._read(_last(boots, most, chosen[start : start + PART]))

    def _read(self, query: Select[Any]) -> Iterator[StoredReport]:
        return reading.stored_reports(self._session.execute(query))

    def _pending(self, device: str, period_s: int) -> Iterator[RollUp]:
        """What is not rolled up yet, rolled up: some at a time, so that few reports are in memory."""
        query = select(BootRow).where(BootRow.device == device, BootRow.spans != BootRow.rolled_up)
        left = MOST_PENDING_BYTES
        for boot in self._session.scalars(query.order_by(BootRow.newest_ended.desc()).limit(MOST_BOOTS)):
            end = -1
            while end < boot.newest and left > 0:
                rows, end = rolling.pending(self._session, boot, end)
                left -= sum(len(row.body) for row in rows)
                yield from rolling.rolled_up(reading.stored_reports(rows), period_s)

    def _longest_tier(self, device: str, period_s: int) -> int:
        """The longest period of the device's roll-ups that makes up this one; this one if there are none, or no more.

        Raises `DurationError` when no tier makes it up.
        """
        query = select(BLOCKS.c.period_s).where(BLOCKS.c.device == device).distinct()
        periods = sorted(self._session.scalars(query))
        fitting = [each for each in periods if period_s % each == 0]
        gone = any(period_s % tier.period_s == 0 for tier in self._retention.tiers)
        if periods and not fitting and not gone:
            raise DurationError(f"no roll-ups make up {period_s} s", hint=f"ask for a multiple of {periods[0]} s")
        return fitting[-1] if fitting else period_s

    def _rolled_up(self, device: str, since: float, until: float, period_s: int) -> Iterator[RollUp]:
        """What blocks hold of some time."""
        c = BLOCKS.c
        first = since - rolling.BLOCK * period_s
        query = select(c.body).where(c.device == device, c.period_s == period_s)
        for body in self._session.scalars(query.where(c.started.between(first, until))):
            yield from reading.block(device, body)


def _last(boots: int, most: int, devices: Sequence[str] | None = None) -> Select[Any]:
    """The last reports of the newest boots of some devices, or of all."""
    place = func.row_number().over(partition_by=BOOTS.c.device, order_by=BOOTS.c.newest_ended.desc()).label("place")
    chosen = select(BOOTS.c.id, place)
    ranked = (chosen if devices is None else chosen.where(BOOTS.c.device.in_(devices))).subquery()
    newest = select(ranked.c.id).where(ranked.c.place <= boots)
    return rolling.joined().where(BOOTS.c.id.in_(newest), REPORTS.c.sequence > BOOTS.c.newest - most)


def _began(report: StoredReport) -> float:
    return report.started
