"""Which blobs devices need for their deployments now. Reads the registry and the store; publishes nothing.

For every open deployment: its manifest, the artifacts of its target, and the patches from what its device has.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.names import split_release
from skerry_agent.wire.routes import EMPTY_SHA256, cheapest, newest_patch_format
from skerry_agent.wire.targets import with_fallback
from skerry_agent.wire.twin import SlotReport
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.records import twins
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow
from skerry_host.release.store import Store

Refs = dict[str, BlobRef]
"""Blobs by sha256, in the order in which a device asks for them."""

Bundles = dict[str, set[tuple[str, str]]]
"""The bundles, as (release, target), that each device is to have."""


@dataclass(frozen=True, slots=True)
class RequiredBlobs:
    """`blobs` are those of all deployments in progress or about to start; `by_device` those in progress."""

    blobs: Refs
    by_device: dict[str, Refs]


def find_required_blobs(session: Session, store: Store) -> RequiredBlobs:
    """All of them. A release that the store has lost requires none: the rollout loop ends such deployments."""
    under_way, waiting = _under_way(session), _waiting(session)
    lookup = _BlobLookup(store, twins.of(session, {*under_way, *waiting}))
    by_device = {device: lookup.refs(device, bundles) for device, bundles in under_way.items()}
    every = [*by_device.values(), *(lookup.refs(device, bundles) for device, bundles in waiting.items())]
    return RequiredBlobs({sha256: ref for refs in every for sha256, ref in refs.items()}, by_device)


def _under_way(session: Session) -> Bundles:
    return {
        twin.device: {(a.release, a.target) for a in twins.open_assignments(twin)} for twin in twins.unsettled(session)
    }


def _waiting(session: Session) -> Bundles:
    """The bundles of deployments that have not been sent yet."""
    query = select(DeploymentRow.release, DeploymentRow.target, DeploymentRow.device).join(
        RolloutRow, RolloutRow.id == DeploymentRow.rollout
    )
    unsent = query.where(RolloutRow.state.not_in(ENDED), DeploymentRow.outcome.is_(None), DeploymentRow.sent.is_(None))
    bundles: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for release, target, device in session.execute(unsent):
        bundles[device].add((release, target))
    return bundles


class _BlobLookup:
    """Looks up the blobs of bundles, given what each device holds; caches, since most devices hold the same."""

    def __init__(self, store: Store, known: dict[str, Twin]) -> None:
        self._store, self._twins = store, known
        self._files: dict[SlotReport, set[str]] = {}
        self._refs: dict[tuple[str, str, frozenset[str], int], Refs] = {}

    def refs(self, device: str, bundles: Iterable[tuple[str, str]]) -> Refs:
        """All blobs of some bundles that a device may need."""
        found: Refs = {}
        reported = self._twins[device].reported
        for release, target in sorted(bundles):
            key = (release, target, self._held(device, release), newest_patch_format(reported))
            if key not in self._refs:
                self._refs[key] = _refs_of(self._store, *key)
            found |= self._refs[key]
        return found

    def _held(self, device: str, release: str) -> frozenset[str]:
        """Every file that a device has in its slots: a patch may start from any of them, not only a model."""
        model, _ = split_release(release)
        reported = self._twins[device].reported
        report = reported.models.get(model) if reported else None
        slots = [slot for slot in (report.current, report.previous, report.candidate) if slot] if report else []
        return frozenset(sha256 for slot in slots for sha256 in self._files_of(slot))

    def _files_of(self, slot: SlotReport) -> set[str]:
        if slot not in self._files:
            self._files[slot] = self._store.files_of(slot)
        return self._files[slot]


def _refs_of(store: Store, name: str, target: str, held: frozenset[str], patch_format: int) -> Refs:
    try:
        release, manifest = store.release(name), store.manifest_ref(name)
    except SkerryError:
        return {}
    targets = with_fallback(target)  # a device whose accelerator is missing falls back
    artifacts = [a.blob for bundle in release.bundles if bundle.target in targets for a in bundle.artifacts]
    known = release.patches_up_to(patch_format)
    routes = (cheapest(known, {base}, ref.sha256) for base in {*held, EMPTY_SHA256} for ref in artifacts)
    patches = {patch.blob for route in routes if route for patch in route}
    refs = [manifest, *sorted(patches, key=lambda ref: ref.sha256), *artifacts]
    return {ref.sha256: ref for ref in refs}
