"""Which blobs devices need for their deployments now. Reads the registry and the store; publishes nothing.

For every open deployment: its manifest, the artifacts of its target, the patches from what its device has, and the
runtime that it is to run with and that its device has not. Only what has changed in the registry is looked at again;
what the store lacked is tried again every few seconds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.names import split_release
from skerry_agent.wire.routes import EMPTY_SHA256, cheapest, newest_patch_format
from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_agent.wire.targets import with_fallback
from skerry_agent.wire.twin import Assignment, SlotReport
from skerry_host.plane.registry.records import changes, rollouts, twins
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.release.runtime_choice import runtime_refs
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store

RETRY_S = 5.0
"""How long until a release that the store lacks is looked for again."""

_Bundle = tuple[str, str, str]
"""A release, a target, and the runtime to run it with: its name, or the hash of its manifest, or empty."""

NO_BUNDLE = ("", "")
"""In place of a release and a target, where only wheels are required: those of an agent."""

_Key = tuple[str, str, frozenset[str], int]
"""A release, a target, the files that a device holds, and the newest patch format that it applies."""

Refs = dict[str, BlobRef]
"""Blobs by sha256, in the order in which a device asks for them."""

Bundles = dict[str, set[_Bundle]]
"""The bundles that each device waits for."""


@dataclass(frozen=True, slots=True)
class RequiredBlobs:
    """`blobs` are those of all deployments in progress or about to start; `by_device` those in progress."""

    blobs: Refs = field(default_factory=dict)
    by_device: dict[str, Refs] = field(default_factory=dict)


class RequiredBlobsReader:
    """Keeps what devices require, and brings it up to date with each `read`."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._seen: Changes = NOTHING
        self._under_way: dict[str, Refs] = {}
        self._waiting: dict[str, Refs] = {}
        self._bundles: Bundles = {}
        self._required = RequiredBlobs()
        self._lacking_since: float | None = None

    def read(self, session: Session) -> RequiredBlobs:
        """All of them; the same object while nothing has changed.

        A release that the store has lost requires none: the rollout loop ends such deployments.
        """
        now = changes.now(session)
        if not now.goes_on_from(self._seen) or self._may_have_come():
            self._seen, self._under_way, self._waiting, self._bundles = NOTHING, {}, {}, {}
        if self._is_current(now):
            return self._required
        lookup = _BlobLookup(self._store)
        changed = dict(twins.changed(session, self._seen.twins))
        self._read_under_way(session, changed, lookup)
        if (self._seen.deployments, self._seen.rollouts) != (now.deployments, now.rollouts):
            self._read_waiting(session)
        self._look_up_waiting(session, changed, lookup)
        self._lacking_since = self._clock() if lookup.lacking else None
        self._seen, self._required = now, self._together()
        return self._required

    @property
    def lacking(self) -> bool:
        """Whether the store lacked a release that is required."""
        return self._lacking_since is not None

    def _is_current(self, now: Changes) -> bool:
        seen = self._seen
        return (seen.twins, seen.deployments, seen.rollouts) == (now.twins, now.deployments, now.rollouts)

    def _may_have_come(self) -> bool:
        """Either way: the clock may have been set back."""
        return self._lacking_since is not None and abs(self._clock() - self._lacking_since) > RETRY_S

    def _read_under_way(self, session: Session, changed: dict[str, bool], lookup: "_BlobLookup") -> None:
        for device in changed:
            self._under_way.pop(device, None)
        for twin in twins.each(session, [device for device, settled in changed.items() if not settled]):
            bundles = {_bundle(assigned) for assigned in twins.open_assignments(twin)}
            agent = twins.open_upgrade(twin)
            bundles |= {(*NO_BUNDLE, agent.manifest.sha256)} if agent is not None else set()
            self._under_way[twin.device] = lookup.refs(twin, bundles)

    def _read_waiting(self, session: Session) -> None:
        """Which bundles deployments wait for; what is known of a device whose bundles are others is forgotten."""
        bundles: defaultdict[str, set[_Bundle]] = defaultdict(set)
        for device, release, target, runtime in rollouts.waiting(session):
            bundles[device].add((release, target, runtime) if target else (*NO_BUNDLE, release))
        before, self._bundles = self._bundles, dict(bundles)
        same = {device for device, each in bundles.items() if before.get(device) == each}
        self._waiting = {device: refs for device, refs in self._waiting.items() if device in same}

    def _look_up_waiting(self, session: Session, changed: dict[str, bool], lookup: "_BlobLookup") -> None:
        stale = [device for device in self._bundles if device in changed or device not in self._waiting]
        for twin in twins.each(session, stale):
            self._waiting[twin.device] = lookup.refs(twin, self._bundles[twin.device])

    def _together(self) -> RequiredBlobs:
        each = {id(refs): refs for part in (self._under_way, self._waiting) for refs in part.values()}
        blobs = {sha256: ref for refs in each.values() for sha256, ref in refs.items()}
        return RequiredBlobs(blobs, dict(self._under_way))


def _bundle(assignment: Assignment) -> _Bundle:
    runtime = assignment.runtime.sha256 if assignment.runtime is not None else ""
    return assignment.release, assignment.target, runtime


class _BlobLookup:
    """Looks up the blobs of bundles, given what each device holds; caches, since most devices hold the same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lacking = False
        self._files: dict[SlotReport, set[str]] = {}
        self._refs: dict[_Key, Refs] = {}
        self._unions: dict[tuple[frozenset[_Key], tuple[BlobRef, ...]], Refs] = {}
        self._runtimes: dict[str, tuple[RuntimeManifest, BlobRef] | None] = {}

    def refs(self, twin: Twin, bundles: Iterable[_Bundle]) -> Refs:
        """All blobs of some bundles that a device may need; the same object for devices that need the same."""
        patch_format, wanted = newest_patch_format(twin.reported), sorted(bundles)
        models = [(release, target) for release, target, _ in wanted if (release, target) != NO_BUNDLE]
        keys = [(release, target, self._held(twin, release), patch_format) for release, target in models]
        wheels = tuple(ref for *_, runtime in wanted if runtime for ref in self._wheels(twin, runtime))
        union = frozenset(keys), wheels
        if union not in self._unions:
            refs = {sha256: ref for key in keys for sha256, ref in self._refs_of(key).items()}
            self._unions[union] = refs | {ref.sha256: ref for ref in wheels}
        return self._unions[union]

    def _wheels(self, twin: Twin, runtime: str) -> list[BlobRef]:
        """What a device may need of a runtime, given by its name or by the hash of its manifest."""
        if runtime not in self._runtimes:
            self._runtimes[runtime] = self._runtime(runtime)
        found = self._runtimes[runtime]
        self.lacking = self.lacking or found is None
        return runtime_refs(*found, twin.reported) if found is not None else []

    def _runtime(self, runtime: str) -> tuple[RuntimeManifest, BlobRef] | None:
        runtimes = RuntimeStore(self._store)
        try:
            name = runtime if "@" in runtime else runtimes.named(runtime)
            return (runtimes.manifest(name), runtimes.manifest_ref(name)) if name is not None else None
        except SkerryError:
            return None

    def _refs_of(self, key: _Key) -> Refs:
        if key not in self._refs:
            self._refs[key] = _refs_of(self._store, *key)
            self.lacking = self.lacking or not self._refs[key]
        return self._refs[key]

    def _held(self, twin: Twin, release: str) -> frozenset[str]:
        """Every file that a device has in its slots: a patch may start from any of them, not only a model."""
        model, _ = split_release(release)
        report = twin.reported.models.get(model) if twin.reported else None
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
    artifacts = [a.blob for bundle in release.offered if bundle.target in targets for a in bundle.artifacts]
    known = release.patches_up_to(patch_format)
    routes = (cheapest(known, {base}, ref.sha256) for base in {*held, EMPTY_SHA256} for ref in artifacts)
    patches = {patch.blob for route in routes if route for patch in route}
    refs = [manifest, *sorted(patches, key=lambda ref: ref.sha256), *artifacts]
    return {ref.sha256: ref for ref in refs}
