"""Records a rollout of the agent itself: a release of wheelhouses that devices install beside the agent they run.

It is a rollout like those of models: waves, gates, pauses and aborts are theirs, and the same loop performs it. Its
deployments have `AGENT` in place of a model. Here it is only recorded, and said what is in the way of a device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from skerry_agent.wire.refusals import REFUSALS
from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_agent.wire.twin import Reported
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.several import Refusal, Several, for_each
from skerry_host.plane.registry.records import twins
from skerry_host.plane.registry.records.twins import AGENT
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow
from skerry_host.plane.rollouts.recording import new_rollout, record, require_devices
from skerry_host.release.runtime_choice import lacks, wheelhouse_for
from skerry_host.release.runtime_store import RuntimeStore


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """A rollout of an agent as it was requested: which devices, each with the bytes that it downloads."""

    manifest: RuntimeManifest
    devices: Sequence[tuple[Device, int]]
    selection: str
    policy: Policy


def fitting_devices(
    session: Session,
    runtimes: RuntimeStore,
    manifest: RuntimeManifest,
    chosen: Sequence[Device],
    refused: Sequence[Refusal] = (),
) -> Several[tuple[Device, int]]:
    """Of some devices those that can be given an agent, each with the bytes of its wheelhouse.

    Raises `FleetError` when none can. One that has never reported may be anything; it checks everything itself.
    """
    known = twins.of(session, [device.id for device in chosen])
    sha256 = runtimes.manifest_ref(manifest.full_name).sha256

    def fitting(device: Device) -> tuple[Device, int]:
        twin = known.get(device.id)
        reported = twin.reported if twin else None
        found = lacks(manifest, sha256, reported, "")
        if found:
            raise FleetError(found[0].detail, hint=REFUSALS[found[0].code].hint, code=found[0].code)
        return device, _bytes(manifest, reported)

    return for_each(f"{manifest.full_name} can be installed", chosen, lambda device: device.id, fitting, refused)


def start_agent_rollout(session: Session, request: AgentRequest, now: float) -> str:
    """Record a rollout of one wave and return its id. Raises `FleetError` where it is for no device."""
    require_devices(request.selection, request.devices)
    name = request.manifest.full_name
    rollout = new_rollout(name, request.selection, request.policy, now)
    return record(session, rollout, (_deployment(rollout, device.id, size) for device, size in request.devices), name)


def _deployment(rollout: RolloutRow, device: str, full_bytes: int) -> DeploymentRow:
    return DeploymentRow(
        id=f"{rollout.id[-8:]}-{device}",
        rollout=rollout.id,
        device=device,
        model=AGENT,
        release=rollout.release,
        target="",
        full_bytes=full_bytes,
        created=rollout.created,
    )


def _bytes(manifest: RuntimeManifest, reported: Reported | None) -> int:
    """Of the wheelhouse that a device downloads; the largest where it is not known which that is."""
    house = wheelhouse_for(manifest, reported)
    return house.artifact.size if house is not None else max(each.artifact.size for each in manifest.wheelhouses)
