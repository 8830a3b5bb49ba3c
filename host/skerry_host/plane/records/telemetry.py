"""Telemetry reports: kept once each whatever arrives how often, and read back for tables and charts."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.plane.tables import ModelStatsRow, ReportRow, SampleRow


def add(session: Session, report: Report, now: float) -> bool:
    """Keep a report; False when (device, boot, sequence) is there already. The device must be enrolled."""
    key = session.execute(_insert_once(session, report, now)).scalar_one_or_none()
    if key is None:
        return False
    merged = {(m.model, m.release): m for m in report.models}
    if merged:
        session.execute(insert(ModelStatsRow), [_stats(key, m) for m in merged.values()])
    if report.samples:
        session.execute(insert(SampleRow), [_sample(key, s) for s in report.samples])
    return True


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


def _insert_once(session: Session, report: Report, now: float) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {
        "device": report.device,
        "boot": report.boot,
        "sequence": report.sequence,
        "started": report.started,
        "uptime_s": report.uptime_s,
        "duration_s": report.duration_s,
        "outbox_dropped": report.outbox_dropped,
        "received": now,
    }
    return dialect.insert(ReportRow).values(values).on_conflict_do_nothing().returning(ReportRow.id)


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
