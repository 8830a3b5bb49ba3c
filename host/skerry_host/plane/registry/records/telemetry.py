"""Telemetry reports: each is stored once, however often it arrives, and read back for tables and charts."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import Table, and_, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from skerry_agent.wire import codec
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.plane.registry.tables import ModelStatsRow, ReportRow, SampleRow

EARLIEST_S = 1_700_000_000.0
"""A device that reports an earlier time (2023) has a clock that was never set."""

AHEAD_S = 86_400.0
"""How far a clock may be ahead of the host's before it is not trusted."""


def add(session: Session, reports: Sequence[Report], now: float) -> int:
    """Store reports of enrolled devices; returns how many were new by (device, boot, sequence)."""
    keys = _insert_new(session, reports, now)
    unset = {(r.device, r.boot) for _, r in keys if not _plausible(r.started, now)}
    for device, boot in sorted(unset | _set_since(session, [key for key, _ in keys])):
        _set_clock(session, device, boot)
    stats = [_stats(key, m) for key, report in keys for m in {(m.model, m.release): m for m in report.models}.values()]
    samples = [_sample(key, sample) for key, report in keys for sample in report.samples]
    if stats:
        session.execute(insert(ModelStatsRow), stats)
    if samples:
        session.execute(insert(SampleRow), samples)
    return len(keys)


def recent(session: Session, device: str, limit: int) -> Sequence[ReportRow]:
    """The newest reports of a device, newest first."""
    query = select(ReportRow).where(ReportRow.device == device).order_by(ReportRow.received.desc(), ReportRow.id.desc())
    return session.scalars(query.limit(limit)).all()


def stats_of(session: Session, reports: Iterable[int]) -> Sequence[ModelStatsRow]:
    """The model statistics of some reports, oldest report first."""
    query = select(ModelStatsRow).where(ModelStatsRow.report.in_(list(reports)))
    return session.scalars(query.order_by(ModelStatsRow.report)).all()


def samples_of(session: Session, report: int) -> Sequence[SampleRow]:
    """The samples of one report."""
    return session.scalars(select(SampleRow).where(SampleRow.report == report).order_by(SampleRow.id)).all()


def prune(session: Session, before: float) -> None:
    """Delete reports received before a time, with what belongs to them."""
    session.execute(delete(ReportRow).where(ReportRow.received < before))


def _insert_new(session: Session, reports: Sequence[Report], now: float) -> list[tuple[int, Report]]:
    """Insert the reports that are not there yet, in one statement; returns each with its key."""
    by_identity = {(r.device, r.boot, r.sequence): r for r in reports}
    if not by_identity:
        return []
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    table = cast("Table", ReportRow.__table__)
    identity = (table.c.device, table.c.boot, table.c.sequence)
    statement = dialect.insert(table).on_conflict_do_nothing().returning(table.c.id, *identity)
    rows = session.execute(statement, [_report(r, now) for r in by_identity.values()])
    return [(key, by_identity[device, boot, sequence]) for key, device, boot, sequence in rows]


def _plausible(started: float, now: float) -> bool:
    return EARLIEST_S <= started <= now + AHEAD_S


def _set_since(session: Session, keys: Sequence[int]) -> set[tuple[str, str]]:
    """Boots of which one of these reports is the first after some of a clock that was not set."""
    if not keys:
        return set()
    before = aliased(ReportRow)
    same_boot = (before.device == ReportRow.device, before.boot == ReportRow.boot)
    query = (
        select(ReportRow.device, ReportRow.boot)
        .join(before, and_(*same_boot, before.sequence == ReportRow.sequence - 1))
        .where(ReportRow.id.between(min(keys), max(keys)), before.clock == "host")
    )
    return {(device, boot) for device, boot in session.execute(query)}


def _set_clock(session: Session, device: str, boot: str) -> None:
    """Work out when the intervals of a boot without a clock began: from when its monotonic clock stood at 0.

    A report cannot come before it was made, so that was at the earliest of (received - uptime), or before: late by as
    much as the quickest report took. A clock that was set later in the boot says it to the second. Better estimates
    correct those before.
    """
    of_boot = (ReportRow.device == device, ReportRow.boot == boot)
    set_clock = case((ReportRow.clock == "device", ReportRow.started + ReportRow.duration_s - ReportRow.uptime_s))
    zeros = select(func.min(ReportRow.received - ReportRow.uptime_s), func.max(set_clock)).where(*of_boot)
    zero = min(each for each in session.execute(zeros).one() if each is not None)
    statement = update(ReportRow).where(*of_boot, ReportRow.clock == "host")
    session.execute(statement.values(started=zero + ReportRow.uptime_s - ReportRow.duration_s))


def _report(report: Report, now: float) -> dict[str, Any]:
    return {
        "device": report.device,
        "boot": report.boot,
        "sequence": report.sequence,
        "started": report.started,
        "clock": "device" if _plausible(report.started, now) else "host",
        "uptime_s": report.uptime_s,
        "duration_s": report.duration_s,
        "outbox_dropped": report.outbox_dropped,
        "received": now,
    }


def _stats(key: int, stats: ModelStats) -> dict[str, Any]:
    return {
        "report": key,
        "model": stats.model,
        "release": stats.release,
        "inferences": stats.inferences,
        "errors": stats.errors,
        "invalid_outputs": stats.invalid_outputs,
        "dropped": stats.dropped,
        "latency": codec.encode(stats.latency),
        "p50_us": stats.latency.quantile(0.50),
        "p95_us": stats.latency.quantile(0.95),
        "p99_us": stats.latency.quantile(0.99),
        "load_us": stats.load_us,
        "rss_bytes": stats.rss_bytes,
        "energy_uj": stats.energy_uj,
        "energy_source": stats.energy_source,
        "energy_method": stats.energy_method,
        "outputs": stats.outputs,
    }


def _sample(key: int, sample: Sample) -> dict[str, Any]:
    return {
        "report": key,
        "name": sample.name,
        "value": sample.value,
        "unit": sample.unit,
        "source": sample.source,
        "method": sample.method,
    }
