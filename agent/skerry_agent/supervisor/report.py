"""A device's status, built from its units, or from its journals alone where no agent runs. Reads, never changes."""

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.deployment.service import Service
from skerry_agent.deployment.unit import Unit
from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.machine.records import Deployment, Record, Slot
from skerry_agent.supervisor.results import ResultsSent
from skerry_agent.wire.settings import SettingsReport
from skerry_agent.wire.telemetry import MeasurementSource
from skerry_agent.wire.twin import DeploymentReport, ModelReport, RuntimeReport, SlotReport
from skerry_agent.wire.upgrades import UpgradeReport


class FactoryStatus(Struct, frozen=True):
    """What the factory folder of a model says it holds, and whether that is being verified now."""

    release: str | None
    busy: bool = False


class EnergyStatus(Struct, frozen=True):
    """Energy per inference, as the newest report has it."""

    energy_uj: float
    relative_uncertainty: float
    source: MeasurementSource
    method: str


class LocalStatus(Struct, frozen=True):
    """What `skerry-agent status` shows beside the reported twin: per model, where its inference API listens.

    `why_offline`: why there is no connection, and what to do. `log`: where the agent's log is found, in words.
    `identity`: what the host knows it as, None where it was provisioned without one.
    `version` is that of the agent, and `upgrade` the latest upgrade of it.
    `trials`: what candidates on probation have run so far. It changes each second, so it is not in the twin.
    """

    device: str
    connected: bool
    waiting_reports: int
    models: dict[str, ModelReport]
    http: dict[str, str]
    pids: dict[str, int]
    issues: tuple[str, ...] = ()
    running: bool = True
    factory: dict[str, FactoryStatus] = {}
    unix: dict[str, str] = {}
    energy: dict[str, EnergyStatus] = {}
    why_offline: str = ""
    log: str = ""
    results: dict[str, ResultsSent] = {}
    trials: dict[str, str] = {}
    identity: IdentityStatus | None = None
    version: str = ""
    upgrade: UpgradeReport | None = None
    settings: SettingsReport | None = None


def model_report(unit: Unit) -> ModelReport:
    """One model as the twin shows it."""
    serving = next((s for s in (unit.candidate, unit.current) if s is not None and s.accepting), None)
    recorded = recorded_report(unit.record, unit.context.clock.wall())
    recorded = replace(recorded, serving=serving is not None, runtime=_runtime(serving))
    recorded = _as_served(_without_lost_runtimes(recorded, unit), unit)
    deployment, waiting = recorded.deployment, unit.waiting.deployment
    if waiting is not None:
        retried = _deployment(unit.record, waiting, unit.context.clock.wall())
        return replace(recorded, deployment=replace(retried, detail="waiting until the journal can be written"))
    if deployment is None:
        return recorded
    deployment = replace(deployment, gap_us=unit.gap_us)
    transfer = unit.transfer
    if transfer is not None and deployment.outcome is None:
        deployment = replace(
            deployment,
            detail=transfer.waiting or deployment.detail,
            bytes_received=transfer.received,
            bytes_expected=transfer.expected,
            transports=transfer.transports,
        )
    return replace(recorded, deployment=deployment)


def recorded_report(record: Record, now: float) -> ModelReport:
    """One model as its journal has it: nothing is known to serve."""
    slots = record.slots
    return ModelReport(
        state=record.state.value,
        serving=False,
        current=_slot(slots.current),
        previous=_slot(slots.previous),
        candidate=_slot(slots.candidate),
        deployment=_deployment(record, record.deployment, now) if record.deployment is not None else None,
    )


def _without_lost_runtimes(report: ModelReport, unit: Unit) -> ModelReport:
    """Slots whose runtime is not on the device any more say so."""
    slots = unit.record.slots
    return replace(
        report,
        current=_marked(report.current, slots.current, unit),
        previous=_marked(report.previous, slots.previous, unit),
    )


def _as_served(report: ModelReport, unit: Unit) -> ModelReport:
    """The slots that serve from their spare say that they do."""
    slots = unit.record.slots
    return replace(
        report,
        current=_on_spare(report.current, slots.current, unit),
        candidate=_on_spare(report.candidate, slots.candidate, unit),
    )


def _on_spare(report: SlotReport | None, slot: Slot | None, unit: Unit) -> SlotReport | None:
    if report is None or slot is None or slot.spare is None or not unit.on_spare(slot):
        return report
    return replace(report, target=slot.spare.target, model_sha256=slot.spare.model_sha256, beside=slot.target)


def _marked(report: SlotReport | None, slot: Slot | None, unit: Unit) -> SlotReport | None:
    if report is None or slot is None or unit.context.runtimes.usable(slot.runtime):
        return report
    return replace(report, runtime_gone=True)


def _runtime(service: Service | None) -> RuntimeReport | None:
    if service is None or service.loaded is None:
        return None
    return RuntimeReport(service.loaded.engine, service.loaded.engine_version, service.loaded.delegate)


def _slot(slot: Slot | None) -> SlotReport | None:
    if slot is None:
        return None
    runtime = (slot.runtime.name, slot.runtime_sha256) if slot.runtime is not None else ()
    report = SlotReport(slot.release, slot.target, slot.manifest_sha256, slot.model_sha256, *runtime)
    return replace(report, beside=slot.spare.target if slot.spare is not None else None)


def _deployment(record: Record, deployment: Deployment, now: float) -> DeploymentReport:
    ended_at = deployment.ended_at if deployment.ended_at is not None else now
    return DeploymentReport(
        id=deployment.id,
        release=deployment.release,
        state=record.state.value,
        outcome=deployment.outcome,
        reason=deployment.reason,
        detail=deployment.detail,
        transfer=deployment.transfer,
        bytes_received=deployment.bytes_received,
        bytes_expected=deployment.bytes_received,
        seconds=max(0.0, ended_at - deployment.ordered_at),
        attempts=deployment.attempts,
        transports=deployment.transports,
    )
