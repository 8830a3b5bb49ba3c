"""Reads the data to be shown (`views`) from the registry, with a few queries whatever the number of devices."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.records import devices, events, receipts, rollouts, twins
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import DeploymentRow, ModelStatsRow, ReportRow, RolloutRow, SampleRow, TwinRow
from skerry_host.plane.views.views import (
    DeploymentView,
    DeviceView,
    EventView,
    ModelView,
    Overview,
    Point,
    RolloutView,
    SampleView,
    Totals,
)

HISTORY = 40
"""How many intervals of a device are charted."""
POWER = "power"
"""The sample that holds a device's power in watts."""
FRESH_S = 120.0
"""Values older than this are not current and are left out of the totals."""


@dataclass(frozen=True, slots=True)
class _Telemetry:
    """The newest reports of one device, oldest first, with what belongs to them."""

    reports: list[ReportRow]
    stats: dict[int, list[ModelStatsRow]]
    samples: list[SampleRow]


def overview(session: Session, now: float, only: Sequence[Device] | None = None) -> Overview:
    """Devices (all, or a page of them) with their figures, the newest rollouts and events."""
    shown = devices.all_devices(session) if only is None else only
    views = device_views(session, shown)
    newest = tuple(rollout_view(session, row) for row in rollouts.latest(session, 8))
    trail = tuple(EventView(e.at, e.kind, e.subject, e.text) for e in events.latest(session, 40))
    return Overview(now, totals(session, now), views, newest, trail)


def device_views(session: Session, shown: Iterable[Device]) -> tuple[DeviceView, ...]:
    """Each device with its twin and its newest telemetry."""
    chosen = list(shown)
    telemetry = _telemetry(session, [device.id for device in chosen])
    known = twins.of(session, [device.id for device in chosen])
    views = tuple(_device_view(device, known[device.id], telemetry.get(device.id)) for device in chosen)
    missing = receipts.missing(session, [device.id for device in chosen])
    return tuple(replace(view, reports_missing=missing.get(view.id, 0)) for view in views)


def rollout_view(session: Session, row: RolloutRow) -> RolloutView:
    """A rollout with all its deployments."""
    members = tuple(_deployment_view(d) for d in rollouts.deployments(session, row.id))
    return RolloutView(row.id, row.release, row.selection, row.state, row.reason, row.created, row.ended, members)


def deployments_of(session: Session, device: str, limit: int = 20) -> tuple[DeploymentView, ...]:
    """The newest deployments of a device first."""
    query = select(DeploymentRow).where(DeploymentRow.device == device).order_by(DeploymentRow.created.desc())
    return tuple(_deployment_view(row) for row in session.scalars(query.limit(limit)))


def _deployment_view(row: DeploymentRow) -> DeploymentView:
    waiting = "waiting" if row.outcome is None else "ended"
    return DeploymentView(
        id=row.id,
        rollout=row.rollout,
        device=row.device,
        release=row.release,
        target=row.target,
        wave=row.wave,
        state=row.state or waiting,
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        transfer=row.transfer,
        transports=row.transports,
        bytes_received=row.bytes_received,
        bytes_expected=row.bytes_expected,
        full_bytes=row.full_bytes,
        seconds=row.seconds,
        attempts=row.attempts,
        gap_us=row.gap_us,
        sent=row.sent,
        ended=row.ended,
    )


def _device_view(device: Device, twin: Twin, telemetry: _Telemetry | None) -> DeviceView:
    reported = twin.reported
    names = sorted({*(reported.models if reported else ()), *_desired_models(twin)})
    return DeviceView(
        id=device.id,
        board=device.board,
        tags=tuple(sorted(device.tags)),
        targets=device.targets,
        online=twin.online,
        agent=twin.agent,
        last_seen=twin.last_seen,
        generation=twin.generation,
        accepted=reported.generation if reported else None,
        models=tuple(_model_view(name, twin, telemetry) for name in names),
        samples=tuple(_sample_view(s) for s in telemetry.samples) if telemetry else (),
        issues=reported.issues if reported else (),
        outbox_dropped=telemetry.reports[-1].outbox_dropped if telemetry and telemetry.reports else 0,
    )


def _desired_models(twin: Twin) -> list[str]:
    return [a.model for a in twin.desired.assignments] if twin.desired else []


def _model_view(name: str, twin: Twin, telemetry: _Telemetry | None) -> ModelView:
    report = twin.reported.models.get(name) if twin.reported else None
    report = report or ModelReport("idle", serving=False)
    assigned = twin.assignment(name)
    mine = _intervals(name, telemetry) if telemetry else []
    stats = mine[-1][1] if mine else None
    return ModelView(
        model=name,
        release=report.current.release if report.current else None,
        previous=report.previous.release if report.previous else None,
        desired=assigned.release if assigned else None,
        state=report.state,
        serving=report.serving,
        attempted=report.deployment.release if report.deployment else None,
        outcome=report.deployment.outcome if report.deployment else None,
        reason=report.deployment.reason if report.deployment else "",
        inferences=stats.inferences if stats else None,
        errors=stats.errors if stats else None,
        energy_source=stats.energy_source if stats else None,
        energy_method=stats.energy_method if stats else "",
        rss_bytes=stats.rss_bytes if stats else None,
        points=tuple(_point(row, s) for row, s in mine),
    )


def _intervals(model: str, telemetry: _Telemetry) -> list[tuple[ReportRow, ModelStatsRow]]:
    return [(row, s) for row in telemetry.reports for s in telemetry.stats.get(row.id, ()) if s.model == model]


def _point(row: ReportRow, stats: ModelStatsRow) -> Point:
    rate = stats.inferences / row.duration_s if row.duration_s > 0 else 0.0
    return Point(row.received, stats.release, rate, stats.p50_us, stats.p95_us, stats.p99_us, stats.energy_uj)


def _sample_view(row: SampleRow) -> SampleView:
    return SampleView(row.name, row.value, row.unit, row.source, row.method)


def _telemetry(session: Session, ids: list[str]) -> dict[str, _Telemetry]:
    """The newest reports of many devices in three queries."""
    place = func.row_number().over(partition_by=ReportRow.device, order_by=ReportRow.id.desc()).label("place")
    ranked = select(ReportRow.id, place).where(ReportRow.device.in_(ids)).subquery()
    query = select(ReportRow).join(ranked, ranked.c.id == ReportRow.id).where(ranked.c.place <= HISTORY)
    reports: defaultdict[str, list[ReportRow]] = defaultdict(list)
    for row in session.scalars(query.order_by(ReportRow.id)):
        reports[row.device].append(row)
    stats = _by_report(session, [row.id for rows in reports.values() for row in rows])
    samples: defaultdict[int, list[SampleRow]] = defaultdict(list)
    newest = [rows[-1].id for rows in reports.values()]
    for sample in session.scalars(select(SampleRow).where(SampleRow.report.in_(newest)).order_by(SampleRow.id)):
        samples[sample.report].append(sample)
    return {device: _Telemetry(rows, stats, samples[rows[-1].id]) for device, rows in reports.items()}


def _by_report(session: Session, ids: list[int]) -> dict[int, list[ModelStatsRow]]:
    found: defaultdict[int, list[ModelStatsRow]] = defaultdict(list)
    for start in range(0, len(ids), 5000):  # SQLite limits the parameters of one query
        part = ids[start : start + 5000]
        for row in session.scalars(select(ModelStatsRow).where(ModelStatsRow.report.in_(part))):
            found[row.report].append(row)
    return found


def totals(session: Session, now: float) -> Totals:
    """Totals over the fleet, from the newest report of each device if it is recent."""
    newest = select(func.max(ReportRow.id)).where(ReportRow.received > now - FRESH_S).group_by(ReportRow.device)
    stats = select(ModelStatsRow.inferences, ReportRow.duration_s, ModelStatsRow.p95_us).join(
        ReportRow, ReportRow.id == ModelStatsRow.report
    )
    rows = session.execute(stats.where(ReportRow.id.in_(newest))).all()
    power = select(SampleRow.value, SampleRow.source).where(SampleRow.report.in_(newest), SampleRow.name == POWER)
    powers = session.execute(power).all()
    active = select(func.count()).select_from(RolloutRow).where(RolloutRow.state.not_in(ENDED))
    return Totals(
        devices=session.scalar(select(func.count()).select_from(TwinRow)) or 0,
        online=session.scalar(select(func.count()).select_from(TwinRow).where(TwinRow.online)) or 0,
        inferences_per_s=sum(count / seconds for count, seconds, _ in rows if seconds > 0),
        p95_us=max((p95 for _, _, p95 in rows if p95 is not None), default=None),
        power_w=sum(value for value, _ in powers) if powers else None,
        power_sources=tuple(sorted({source for _, source in powers})),
        active_rollouts=session.scalar(active) or 0,
    )
