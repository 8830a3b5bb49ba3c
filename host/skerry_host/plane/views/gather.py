"""Reads the data to be shown (`views`) from the registry, with a few queries whatever the number of devices."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import ModelStats
from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.records import devices, events, receipts, rollouts, twins
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow, TwinRow
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures, StoredReport
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
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
"""Values older than this, or than twice their interval, are not current and are left out of the totals."""


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
    telemetry = SqlTelemetry(session).recent([device.id for device in chosen], HISTORY)
    known = twins.of(session, [device.id for device in chosen])
    views = tuple(_device_view(device, known[device.id], telemetry.get(device.id, [])) for device in chosen)
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


def _device_view(device: Device, twin: Twin, reports: Sequence[StoredReport]) -> DeviceView:
    reported = twin.reported
    names = sorted({*(reported.models if reported else ()), *_desired_models(twin)})
    newest = reports[-1].interval if reports else Interval(0.0, 0.0)
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
        models=tuple(_model_view(name, twin, reports) for name in names),
        samples=tuple(_sample_view(s) for s in newest.samples),
        issues=reported.issues if reported else (),
        outbox_dropped=newest.outbox_dropped,
    )


def _desired_models(twin: Twin) -> list[str]:
    return [a.model for a in twin.desired.assignments] if twin.desired else []


def _model_view(name: str, twin: Twin, reports: Sequence[StoredReport]) -> ModelView:
    report = twin.reported.models.get(name) if twin.reported else None
    report = report or ModelReport("idle", serving=False)
    assigned = twin.assignment(name)
    mine = [(each.interval, figures) for each in reports for figures in each.interval.models if figures.model == name]
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
        points=tuple(_point(*each) for each in mine),
    )


def _point(interval: Interval, figures: ModelStats) -> Point:
    p50, p95, p99 = figures.latency.quantiles(0.50, 0.95, 0.99)
    return Point(interval.started, figures.release, _rate(interval, figures), p50, p95, p99, figures.energy_uj)


def _rate(interval: Interval, figures: ModelStats) -> float:
    return figures.inferences / interval.duration_s if interval.duration_s > 0 else 0.0


def _sample_view(sample: SampleFigures) -> SampleView:
    return SampleView(sample.name, sample.value, sample.unit, sample.source, sample.method)


def totals(session: Session, now: float) -> Totals:
    """Totals over the fleet, from the newest report of each device if it is recent."""
    newest = [each.interval for each in SqlTelemetry(session).newest().values()]
    current = [each for each in newest if each.ended > now - max(FRESH_S, 2 * each.duration_s)]
    models = [(interval, figures) for interval in current for figures in interval.models]
    p95 = [value for _, figures in models for value in figures.latency.quantiles(0.95) if value is not None]
    powers = [sample for interval in current for sample in interval.samples if sample.name == POWER]
    active = select(func.count()).select_from(RolloutRow).where(RolloutRow.state.not_in(ENDED))
    return Totals(
        devices=session.scalar(select(func.count()).select_from(TwinRow)) or 0,
        online=session.scalar(select(func.count()).select_from(TwinRow).where(TwinRow.online)) or 0,
        inferences_per_s=sum(_rate(*each) for each in models),
        p95_us=max(p95, default=None),
        power_w=sum(sample.value for sample in powers) if powers else None,
        power_sources=tuple(sorted({sample.source for sample in powers})),
        active_rollouts=session.scalar(active) or 0,
    )
