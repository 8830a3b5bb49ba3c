"""Exports a release to a folder or USB stick: the signed manifest as `release.json`, and files named by their sha256.

With a runtime also that, its signed manifest as `runtime.json`.

A device treats it like what comes over the network, so nothing is signed or made here.
"""

from dataclasses import dataclass
from pathlib import Path

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Bundle, PatchRef, Release
from skerry_agent.wire.routes import EMPTY_SHA256
from skerry_agent.wire.targets import with_fallback
from skerry_host.files import write_atomic
from skerry_host.release.errors import ReleaseError
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store

MANIFEST_FILE, RUNTIME_FILE = "release.json", "runtime.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written; `bytes` of everything together."""

    release: str
    target: str
    files: int
    bytes: int


def export(
    store: Store, name: str, target: str, folder: Path, *, only_patches: bool = False, runtime: str = ""
) -> Exported:
    """Write what a device needs to install the bundle of `target`, in full or by a patch from whatever it has.

    With an edgetpu bundle goes the cpu one, for a device whose Edge TPU is missing when the stick is plugged in.
    `only_patches` leaves the full model out, for devices that hold an earlier release. `runtime` goes with it, for
    every machine and Python that it is for. The release's manifest is written last: a stick that was pulled too early
    has none. Raises `ReleaseError`, `StoreError`, `OSError`.
    """
    release, envelope = store.release(name), store.envelope(name)
    refs = {ref.sha256: ref for ref in _refs(release, target, only_patches=only_patches)}
    manifests = {MANIFEST_FILE: envelope}
    if runtime:
        runtimes = RuntimeStore(store)
        houses = runtimes.of_kind(runtime, "runtime").wheelhouses
        refs |= {house.artifact.sha256: house.artifact for house in houses}
        manifests = {RUNTIME_FILE: runtimes.envelope(runtime), **manifests}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUNTIME_FILE).unlink(missing_ok=True)  # of an export before, which would go with this release
    for sha256 in refs:
        write_atomic(folder / sha256, store.get(sha256))
    for file, data in manifests.items():
        write_atomic(folder / file, data)
    size = sum(map(len, manifests.values())) + sum(ref.size for ref in refs.values())
    return Exported(release.name, target, len(refs) + len(manifests), size)


def _refs(release: Release, target: str, *, only_patches: bool) -> list[BlobRef]:
    try:
        artifacts = [artifact for bundle in _bundles(release, target) for artifact in bundle.artifacts]
    except WireError as error:
        raise ReleaseError(error.message, hint="choose one with --target", code="no_bundle") from None
    # Who gets the stick may have an agent of any age. It plans by the manifest, so whatever that offers must be there:
    # what a newer one fetches packed, too.
    every = (*release.patches, *release.newer_patches)
    patches = _leading_to(every, {artifact.blob.sha256 for artifact in artifacts})
    if only_patches and all(patch.base_sha256 == EMPTY_SHA256 for patch in patches):
        raise ReleaseError(f"{release.name} has no patch for {target}", hint="export it in full", code="no_patch")
    patched = {patch.new_sha256 for patch in patches if patch.format_version == 1} if only_patches else set()
    return [*(a.blob for a in artifacts if a.blob.sha256 not in patched), *(patch.blob for patch in patches)]


def _bundles(release: Release, target: str) -> list[Bundle]:
    """The bundle of a target, and what a device without its accelerator falls back to. Raises `WireError`."""
    first = release.bundle(target)
    return [first, *(bundle for bundle in release.offered if bundle.target in with_fallback(target)[1:])]


def _leading_to(patches: tuple[PatchRef, ...], made: set[str]) -> list[PatchRef]:
    """Every patch on any route to some files: from whatever a device holds, one after the other."""
    found: list[PatchRef] = []
    while fresh := [patch for patch in patches if patch.new_sha256 in made and patch not in found]:
        found += fresh
        made = made | {patch.base_sha256 for patch in fresh}
    return found
