"""Why a device cannot get a bundle, before it tries: it is not what the bundle needs, or it lacks a file and patches.

Reads only. `of` says what is in the way of one blob, if anything; the store's own obstacle is that it lacks the file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.names import split_release
from skerry_agent.wire.routes import EMPTY_SHA256, cheapest, newest_patch_format
from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_agent.wire.schemas import newer_meanings
from skerry_agent.wire.twin import Reported
from skerry_host.release.fitting import fit
from skerry_host.release.runtime_choice import lacks, runtime_refs
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store


@dataclass(frozen=True, slots=True)
class BundleOrder:
    """What a device is ordered to run: a release for a target, with a runtime, empty for the base environment's."""

    release: str
    target: str
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A code of `wire.refusals`, and what is in the way, in words."""

    code: str
    words: str


def obstacle(
    store: Store, reported: Reported | None, order: BundleOrder, of: Callable[[BlobRef], Obstacle | None]
) -> Obstacle | None:
    """The first thing that keeps a device from a bundle and its runtime; None where it can get all.

    Raises `SkerryError` when the store lacks the release itself.
    """
    name, target = order.release, order.target
    release = store.release(name)
    if (behind := too_old(release, reported)) is not None:
        return behind
    found = of(store.manifest_ref(name))
    if found is not None:
        return Obstacle(found.code, f"the manifest of {name}: {found.words}")
    held = {EMPTY_SHA256, *_held(store, reported, name)}
    patches = [patch for patch in release.patches_up_to(newest_patch_format(reported)) if of(patch.blob) is None]
    for artifact in release.bundle(target).artifacts:
        sha256 = artifact.blob.sha256
        found = None if sha256 in held else of(artifact.blob)
        if found is not None and cheapest(patches, held, sha256) is None:
            return Obstacle(found.code, f"{artifact.name} of {name}: {found.words}")
    return _runtime_obstacle(store, reported, order, of)


def _runtime_obstacle(
    store: Store, reported: Reported | None, order: BundleOrder, of: Callable[[BlobRef], Obstacle | None]
) -> Obstacle | None:
    """What keeps a device from the runtime that it is to run with: it is not for it, or a file of it is missing."""
    if not order.runtime:
        return None
    return wheelhouse_obstacle(RuntimeStore(store), order.runtime, reported, of, split_release(order.release)[0])


def wheelhouse_obstacle(
    runtimes: RuntimeStore,
    name: str,
    reported: Reported | None,
    of: Callable[[BlobRef], Obstacle | None],
    model: str = "",
) -> Obstacle | None:
    """What keeps a device from a release of wheelhouses: a runtime for a `model`, or an agent. Raises `SkerryError`."""
    manifest, ref = runtimes.manifest(name), runtimes.manifest_ref(name)
    for lack in lacks(manifest, ref.sha256, reported, model):
        return Obstacle(lack.code, lack.detail)
    for blob in runtime_refs(manifest, ref, reported):
        found = of(blob)
        if found is not None:
            return Obstacle(found.code, f"{manifest.kind} {name}: {found.words}")
    return None


def too_old(release: Release, reported: Reported | None) -> Obstacle | None:
    """The agent that a device has does not know what the release needs; None where it does, or never reported."""
    if reported is None or reported.manifest_schema >= release.schema:
        return None
    needed = newer_meanings(release.offered)
    about = f" ({', '.join(needed)})" if needed else ""
    words = f"{release.name} needs an agent that reads schema {release.schema} of manifests{about}"
    return Obstacle("unsupported_schema", f"{words}; its agent reads {reported.manifest_schema}")


def unmet(
    release: Release, target: str, reported: Reported | None, runtime: RuntimeManifest | None = None
) -> Obstacle | None:
    """What the device is known to lack for a bundle (`wire.admission`), and for how long it may not be there."""
    found = fit(release, (release.bundle(target).target,), reported, runtime).in_the_way
    return Obstacle(found[0].code, f"{release.name}: {found[0].detail}") if found else None


def lacking(store: Store, ref: BlobRef) -> Obstacle | None:
    """The store lacks a file, or part of one. Its content is not looked at."""
    try:
        size = store.path(ref.sha256).stat().st_size
    except (SkerryError, OSError):
        return Obstacle("missing_object", f"the store has no object {ref.sha256[:12]}")
    if size != ref.size:
        return Obstacle("missing_object", f"object {ref.sha256[:12]} has {size} bytes in the store, not {ref.size}")
    return None


def _held(store: Store, reported: Reported | None, release: str) -> set[str]:
    """The files in a device's slots."""
    model = reported.models.get(split_release(release)[0]) if reported else None
    slots = [slot for slot in (model.current, model.previous, model.candidate) if slot] if model else []
    return {sha256 for slot in slots for sha256 in store.files_of(slot)}
