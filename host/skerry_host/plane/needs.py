"""Which blobs devices need now. Reads the registry and the store; publishes nothing.

For every open deployment: its manifest, the artifacts of its target, and the patches from what its device has.
"""

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.names import split_release
from skerry_agent.wire.routes import cheapest
from skerry_agent.wire.twin import SlotReport
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.records import twins
from skerry_host.plane.tables import DeploymentRow, RolloutRow
from skerry_host.release.store import Store


def needed_blobs(session: Session, store: Store) -> dict[str, BlobRef]:
    """By sha256, in the order in which a device asks for them. A release that the store has lost needs nothing."""
    needed: dict[str, BlobRef] = {}
    for (release, target), waiting in _wanted(session).items():
        try:
            refs = _blobs_of(store, release, target, _held(session, store, waiting, release))
            needed.update({ref.sha256: ref for ref in refs})
        except SkerryError:  # the conductor ends such deployments and says why
            continue
    return needed


def _wanted(session: Session) -> dict[tuple[str, str], set[str]]:
    """The devices that need a bundle, by (release, target): all that is under way or about to be."""
    wanted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for twin in twins.unsettled(session):
        for assignment in twins.open_assignments(twin):
            wanted[assignment.release, assignment.target].add(twin.device)
    query = select(DeploymentRow.release, DeploymentRow.target, DeploymentRow.device).join(
        RolloutRow, RolloutRow.id == DeploymentRow.rollout
    )
    waiting = query.where(RolloutRow.state.not_in(ENDED), DeploymentRow.outcome.is_(None), DeploymentRow.sent.is_(None))
    for release, target, device in session.execute(waiting):
        wanted[release, target].add(device)
    return wanted


def _blobs_of(store: Store, name: str, target: str, held: set[str]) -> list[BlobRef]:
    release = store.release(name)
    targets = {target, "cpu"} if target == "edgetpu" else {target}  # a device whose Edge TPU is missing falls back
    artifacts = [a.blob for bundle in release.bundles if bundle.target in targets for a in bundle.artifacts]
    routes = (cheapest(release.patches, {base}, ref.sha256) for base in held for ref in artifacts)
    patches = {patch.blob for route in routes if route for patch in route}
    return [store.manifest_ref(name), *sorted(patches, key=lambda ref: ref.sha256), *artifacts]


def _held(session: Session, store: Store, devices: set[str], release: str) -> set[str]:
    """Every file that some devices have in their slots: a patch may start from any of them, not only a model."""
    model, _ = split_release(release)
    reports = (twins.find(session, device).reported for device in devices)
    models = [reported.models[model] for reported in reports if reported and model in reported.models]
    slots = {slot for m in models for slot in (m.current, m.previous, m.candidate) if slot}
    return {sha256 for slot in slots for sha256 in files_of(store, slot)}


def files_of(store: Store, slot: SlotReport) -> set[str]:
    """The files of a slot, by sha256, as far as the store knows its release."""
    try:
        artifacts = store.release(slot.release).bundle(slot.target).artifacts
    except SkerryError:  # made by another host: only what the device itself names is known
        return {slot.model_sha256}
    return {slot.model_sha256, *(artifact.blob.sha256 for artifact in artifacts)}
