"""Reads the data to be shown (`views`) from the registry, with a few queries whatever the number of devices."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from skerry_agent.wire.twin import Assignment, ModelReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.records import alarms, devices, events, receipts, rollouts, settings, twins
from skerry_host.plane.registry.records.alarms import Alarm
from skerry_host.plane.registry.records.known import known_by
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import DeploymentRow, DeviceRow, RolloutRow, TwinRow
from skerry_host.plane.registry.telemetry.port import Interval, StoredReport
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.history import point
from skerry_host.plane.views.known import KnownView
from skerry_host.plane.views.newest import NewestIntervals, sample_view
from skerry_host.plane.views.settings import settings_view
from skerry_host.plane.views.upgrades import upgrade_view
from skerry_host.plane.views.views import (
    AlarmView,
    DeploymentView,
    DeviceView,
    EventView,
    ModelView,
    NewestFigures,
    Overview,
    RolloutView,
    Totals,
    is_current,
)

PAGE = 100
"""Devices of one page, unless it is said otherwise."""
ROLLOUT_PAGE = 12
"""Deployments that are shown of a rollout among others."""
HISTORY = 40
"""How many intervals of a device are charted."""
POWER = "power"
"""The sample that holds a device's power in watts."""


@dataclass(frozen=True, slots=True)
class Page:
    """At most so many devices behind an id."""

    after: str = ""
    most: int = PAGE


def overview(session: Session, now: float, page: Page = Page(), newest: NewestIntervals | None = None) -> Overview:
    """A page of the devices with their figures, the newest rollouts and events; `newest` is kept between calls."""
    shown, rest = devices.page(session, page.after, page.most)
    views = device_views(session, shown)
    latest = tuple(rollout_view(session, row, ROLLOUT_PAGE) for row in rollouts.latest(session, 8))
    trail = tuple(EventView(e.at, e.kind, e.subject, e.text) for e in events.latest(session, 40))
    return Overview(now, totals(session, now, newest), views, latest, trail, rest)


def device_views(session: Session, shown: Iterable[Device], history: int = HISTORY) -> tuple[DeviceView, ...]:
    """Each device with its twin and as many of its newest intervals; with 0, telemetry is not read at all."""
    return tuple(view for part in parts(shown) for view in _device_views(session, part, history))


def _device_views(session: Session, shown: Sequence[Device], history: int) -> Iterator[DeviceView]:
    names = [device.id for device in shown]
    telemetry = SqlTelemetry(session).recent(names, history) if history else {}
    missing = receipts.missing(session, names) if history else {}
    known, identified = twins.of(session, names), known_by(session, names)
    sounding, wanted = alarms.of(session, names), settings.of(session, names)
    for device in shown:
        view = _device_view(device, known[device.id], telemetry.get(device.id, []))
        found = alarm_views(known[device.id], sounding.get(device.id, ()))
        by = identified[device.id]
        is_known = KnownView(by.how, by.until, by.reason)
        is_set = settings_view(known[device.id], wanted.get(device.id))
        yield replace(view, reports_missing=missing.get(device.id, 0), alarms=found, known=is_known, settings=is_set)


def alarm_views(twin: Twin, sounding: Sequence[Alarm]) -> tuple[AlarmView, ...]:
    """The alarms of a device: those that were sounded, and what its twin says by itself."""
    found = [AlarmView(each.kind, each.text, each.since) for each in sounding]
    said = twin.reported.generation if twin.reported else 0
    if said > twin.generation:
        found.append(AlarmView(alarms.UNSIGNED, alarms.unsigned(said, twin.generation)))
    return tuple(found)


def rollout_view(session: Session, row: RolloutRow, most: int | None = None, behind: int = 0) -> RolloutView:
    """A rollout with all its deployments, or with at most so many of them behind the first few."""
    tally = rollouts.tally(session, row.id)
    return RolloutView(
        id=row.id,
        release=row.release,
        selection=row.selection,
        state=row.state,
        reason=row.reason,
        created=row.created,
        ended=row.ended,
        deployments=tuple(_deployment_view(d) for d in rollouts.deployments(session, row.id, most, behind)),
        devices=sum(tally.outcomes.values()),
        outcomes={outcome: count for outcome, count in tally.outcomes.items() if outcome is not None},
        bytes_received=tally.bytes_received,
        runtime=row.runtime,
        full_bytes=tally.full_bytes,
        admission=rollouts.admission(row),
    )


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
        runtime=row.runtime,
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
        samples=tuple(sample_view(s) for s in newest.samples),
        issues=reported.issues if reported else (),
        outbox_dropped=newest.outbox_dropped,
        measured=reports[-1].received if reports else None,
        interval_s=newest.duration_s,
        upgrade=upgrade_view(twin),
    )


def _desired_models(twin: Twin) -> list[str]:
    return [a.model for a in twin.desired.assignments] if twin.desired else []


def _model_view(name: str, twin: Twin, reports: Sequence[StoredReport]) -> ModelView:
    report = twin.reported.models.get(name) if twin.reported else None
    report = report or ModelReport("idle", serving=False)
    assigned = twin.assignment(name)
    mine = [(each.interval, figures) for each in reports for figures in each.interval.models if figures.model == name]
    stats = mine[-1][1] if mine else None
    metered = next((each for _, each in reversed(mine) if each.energy_uj is not None), stats)
    return ModelView(
        model=name,
        release=report.current.release if report.current else None,
        previous=report.previous.release if report.previous else None,
        desired=_desired_now(assigned, report),
        state=report.state,
        serving=report.serving,
        attempted=report.deployment.release if report.deployment else None,
        outcome=report.deployment.outcome if report.deployment else None,
        reason=report.deployment.reason if report.deployment else "",
        inferences=stats.inferences if stats else None,
        errors=stats.errors if stats else None,
        input_errors=stats.input_errors if stats else None,
        energy_source=metered.energy_source if metered else None,
        energy_method=metered.energy_method if metered else "",
        rss_bytes=stats.rss_bytes if stats else None,
        points=tuple(point(*each) for each in mine),
        runtime=report.current.runtime if report.current else "",
        previous_runtime=report.previous.runtime if report.previous else "",
        other_runtime=_has_other_runtime(assigned, report),
        attempted_runtime=_attempted_runtime(assigned, report),
        runtime_gone=report.current is not None and report.current.runtime_gone,
        engine=f"{report.runtime.name} {report.runtime.version}" if report.runtime else "",
    )


def _has_other_runtime(assigned: Assignment | None, report: ModelReport) -> bool:
    """It runs the release that it is to run, and not with the runtime that it is to run with."""
    if assigned is None or report.current is None or _has_given_up(assigned, report):
        return False
    same_release = report.current.manifest_sha256 == assigned.manifest.sha256
    return same_release and not assigned.is_in(report.current)


def _attempted_runtime(assigned: Assignment | None, report: ModelReport) -> bool:
    """What was assigned was given up, and it was the release that runs: with another runtime."""
    if assigned is None or report.current is None or not _has_given_up(assigned, report):
        return False
    return report.current.manifest_sha256 == assigned.manifest.sha256 and not assigned.is_in(report.current)


def _desired_now(assigned: Assignment | None, report: ModelReport) -> str | None:
    """The release that a device is to run: what it keeps, once it has given up what was assigned to it."""
    if assigned is None:
        return None
    given_up = _has_given_up(assigned, report)
    return report.current.release if given_up and report.current else assigned.release


def _has_given_up(assigned: Assignment, report: ModelReport) -> bool:
    attempt = report.deployment
    return attempt is not None and attempt.id == assigned.deployment and attempt.outcome not in {None, "succeeded"}


def newest_figures(session: Session, newest: NewestIntervals, now: float) -> list[NewestFigures]:
    """Every device, by id, with its newest interval if that is current."""
    known = newest.read(session).items()
    intervals = {device: each for device, each in known if is_current(each.received, each.duration_s, now)}
    columns = select(DeviceRow.id, DeviceRow.board, TwinRow.online, TwinRow.last_seen)
    query = columns.where(DeviceRow.id.not_in(devices.gone()))
    rows = session.execute(query.join(TwinRow, TwinRow.device == DeviceRow.id).order_by(DeviceRow.id))
    return [NewestFigures(*row, intervals.get(row.id)) for row in rows]


def totals(session: Session, now: float, newest: NewestIntervals | None = None) -> Totals:
    """Totals over the fleet, from the newest interval of each device if it is recent."""
    intervals = (newest or NewestIntervals()).read(session).values()
    current = [each for each in intervals if is_current(each.received, each.duration_s, now)]
    models = [model for interval in current for model in interval.models]
    powers = [sample for interval in current for sample in interval.samples if sample.name == POWER]
    here = select(func.count()).select_from(TwinRow).where(TwinRow.device.not_in(devices.gone()))
    active = select(func.count()).select_from(RolloutRow).where(RolloutRow.state.not_in(ENDED))
    return Totals(
        devices=session.scalar(here) or 0,
        online=session.scalar(select(func.count()).select_from(TwinRow).where(TwinRow.online)) or 0,
        inferences_per_s=sum(model.inferences_per_s for model in models),
        p95_us=max((model.p95_us for model in models if model.p95_us is not None), default=None),
        power_w=sum(sample.value for sample in powers) if powers else None,
        power_sources=tuple(sorted({sample.source for sample in powers})),
        active_rollouts=session.scalar(active) or 0,
    )
