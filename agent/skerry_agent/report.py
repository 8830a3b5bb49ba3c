"""What a device says of itself, put together from its units. Reads, never changes."""

from msgspec import Struct

from skerry_agent.records import Deployment, Slot
from skerry_agent.unit import Unit
from skerry_agent.wire.twin import DeploymentReport, ModelReport, SlotReport


class LocalStatus(Struct, frozen=True):
    """What `skerry-agent status` shows beside the reported twin: per model, where its inference API listens."""

    device: str
    connected: bool
    waiting_reports: int
    models: dict[str, ModelReport]
    http: dict[str, str]
    pids: dict[str, int]
    issues: tuple[str, ...] = ()


def model_report(unit: Unit) -> ModelReport:
    """One model as the twin shows it."""
    slots = unit.record.slots
    return ModelReport(
        state=unit.record.state.value,
        serving=any(s is not None and s.accepting for s in (unit.current, unit.candidate)),
        current=_slot(slots.current),
        previous=_slot(slots.previous),
        candidate=_slot(slots.candidate),
        deployment=_deployment(unit, unit.record.deployment),
    )


def _slot(slot: Slot | None) -> SlotReport | None:
    if slot is None:
        return None
    return SlotReport(slot.release, slot.target, slot.manifest_sha256, slot.model_sha256)


def _deployment(unit: Unit, deployment: Deployment | None) -> DeploymentReport | None:
    if deployment is None:
        return None
    transfer = unit.transfer if deployment.outcome is None else None
    ended_at = deployment.ended_at if deployment.ended_at is not None else unit.world.clock.wall()
    return DeploymentReport(
        id=deployment.id,
        release=deployment.release,
        state=unit.record.state.value,
        outcome=deployment.outcome,
        reason=deployment.reason,
        detail=transfer.waiting if transfer is not None else deployment.detail,
        transfer=deployment.transfer,
        bytes_received=transfer.received if transfer is not None else deployment.bytes_received,
        bytes_expected=transfer.expected if transfer is not None else deployment.bytes_received,
        seconds=max(0.0, ended_at - deployment.ordered_at),
        attempts=deployment.attempts,
        gap_us=unit.gap_us,
    )
