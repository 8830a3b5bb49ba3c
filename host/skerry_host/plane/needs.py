"""Which blobs devices need now. Reads the registry and the store; publishes nothing.

For every open deployment: its manifest, the artifacts of its target, and the patches from what its device has.
"""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.twin import ModelReport, Reported, SlotReport
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.records import twins
from skerry_host.plane.tables import DeploymentRow, RolloutRow
from skerry_host.release.store import Store


def needed_blobs(session: Session, store: Store) -> dict[str, BlobRef]:
    """By sha256, in the order in which a device asks for them. A release that the store has lost needs nothing."""
    needed: dict[str, BlobRef] = {}
    for device, release, target in _wanted(session):
        try:
            refs = _blobs_of(store, release, target, twins.find(session, device).reported)
            needed.update({ref.sha256: ref for ref in refs})
        except SkerryError:  # the conductor ends such deployments and says why
            continue
    return needed


def _wanted(session: Session) -> Iterator[tuple[str, str, str]]:
    """(device, release, target) of all that is under way or about to be."""
    for twin in twins.unsettled(session):
        for assignment in twins.open_assignments(twin):
            yield twin.device, assignment.release, assignment.target
    query = select(DeploymentRow.device, DeploymentRow.release, DeploymentRow.target).join(
        RolloutRow, RolloutRow.id == DeploymentRow.rollout
    )
    waiting = query.where(RolloutRow.state.not_in(ENDED), DeploymentRow.outcome.is_(None), DeploymentRow.sent.is_(None))
    yield from session.execute(waiting)


def _blobs_of(store: Store, name: str, target: str, reported: Reported | None) -> list[BlobRef]:
    release = store.release(name)
    artifacts = [artifact.blob for artifact in release.bundle(target).artifacts]
    patches = _patches(release, {ref.sha256 for ref in artifacts}, _held(store, reported, release.model))
    return [store.manifest_ref(name), *patches, *artifacts]


def _patches(release: Release, new: set[str], held: set[str]) -> list[BlobRef]:
    return [p.blob for p in release.patches if p.new_sha256 in new and p.base_sha256 in held]


def _held(store: Store, reported: Reported | None, model: str) -> set[str]:
    """Every file that a device has in its slots: a patch may start from any of them, not from the model's alone."""
    found: ModelReport | None = reported.models.get(model) if reported else None
    slots = (found.current, found.previous, found.candidate) if found else ()
    return {sha256 for slot in slots if slot for sha256 in _files_of(store, slot)}


def _files_of(store: Store, slot: SlotReport) -> set[str]:
    try:
        artifacts = store.release(slot.release).bundle(slot.target).artifacts
    except SkerryError:  # made by another host: only what the device itself names is known
        return {slot.model_sha256}
    return {slot.model_sha256, *(artifact.blob.sha256 for artifact in artifacts)}
