"""Makes a bundle from fetched files and files already on the device: copies, applies patches, checks every hash.

How each artifact is to be made is settled first, so that what the board cannot hold is refused before anything is
written. No file is read whole.
"""

import mmap
import os
import shutil
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.patch import PatchError, apply, read_header
from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import Refusal, Staged, StageJob
from skerry_agent.state.disk import DiskError, make_folder, sha256_of, sync_folder
from skerry_agent.state.slots import read_bundle, write_bundle
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.files import has_hash
from skerry_agent.updater.room import NOT_ENOUGH_MEMORY, Room
from skerry_agent.updater.runtime import OWN, Tools, stage_runtime
from skerry_agent.updater.verify import read_manifest
from skerry_agent.wire import routes
from skerry_agent.wire.blobs import MAX_BLOB_BYTES
from skerry_agent.wire.codec import encode
from skerry_agent.wire.manifest import PATCH_FORMAT, QUALITY_FILE, Artifact, Bundle, PatchRef, Release


def stage(job: StageJob, trust: Trust, room: Room, tools: Tools = OWN) -> Staged:
    """Make the bundle in a temporary folder, then rename it: a bundle folder is complete or absent.

    Raises `RefusedError`, `TrustError`, `WireError`, `OSError`.
    """
    manifest = read_manifest(job.manifest_file, job.release, trust)
    bundle = manifest.bundle(job.target)
    _make_bundle(bundle, Path(job.bundle_dir), job, (manifest, room))
    runtime = stage_runtime(job.runtime, Path(job.blobs_dir), trust, room, tools) if job.runtime is not None else None
    return Staged(bundle.model.blob.sha256, runtime, _make_spare(bundle, job, (manifest, room)))


def _make_spare(bundle: Bundle, job: StageJob, given: tuple[Release, Room]) -> str:
    """The model of the spare bundle, if it could be made: what cannot be had of it does not stop a deployment."""
    spare = next((each for each in given[0].offered if each.target == job.spare), None)
    if spare is None:
        return ""
    have = job.have | {a.blob.sha256: str(Path(job.bundle_dir) / a.name) for a in bundle.artifacts}
    try:
        _make_bundle(spare, Path(job.spare_dir), replace(job, have=have), given)
    except (RefusedError, OSError) as error:
        print(f"no {job.spare} bundle is kept beside it: {error}", file=sys.stderr)  # noqa: T201 - the agent's log
        return ""
    return spare.model.blob.sha256


def _make_bundle(bundle: Bundle, final: Path, job: StageJob, given: tuple[Release, Room]) -> None:
    manifest, room = given
    if _complete(final, bundle):
        return
    temporary = final.with_name(f".{final.name}.tmp")
    for leftover in (temporary, final):
        shutil.rmtree(leftover, ignore_errors=True)
    sources = [_source(artifact, job, manifest) for artifact in bundle.artifacts]
    make_folder(temporary)
    try:
        _check_room(sources, temporary, job, room)
        for source in sources:
            _make(source, temporary / source.artifact.name, job)
        (temporary / QUALITY_FILE).write_bytes(encode(manifest.quality))
        write_bundle(temporary, bundle)
        temporary.rename(final)
        sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _complete(folder: Path, bundle: Bundle) -> bool:
    try:
        same = read_bundle(folder) == bundle
    except DiskError:
        return False
    return same and all(has_hash(folder / artifact.name, artifact.blob.sha256) for artifact in bundle.artifacts)


@dataclass(frozen=True)
class _Source:
    """What an artifact is made from: a file that is a copy of it, or a route of patches."""

    artifact: Artifact
    copy: Path | None = None
    route: routes.Route = ()


def _source(artifact: Artifact, job: StageJob, manifest: Release) -> _Source:
    """A blob, a file of another bundle, or fetched patches."""
    sha256 = artifact.blob.sha256
    fetched, held = Path(job.blobs_dir) / sha256, Path(job.have.get(sha256, ""))
    if fetched.is_file() or has_hash(held, sha256):
        return _Source(artifact, copy=fetched if fetched.is_file() else held)
    fetched_patches = [patch for patch in manifest.patches_up_to(PATCH_FORMAT) if _blob(patch, job).exists()]
    route = routes.cheapest(fetched_patches, job.have.keys() - {sha256}, sha256)  # what is held of it has rotted
    if not route:
        detail = f"neither {artifact.name} nor a patch for it was fetched"
        raise RefusedError(Refusal("failed", "missing_blob", detail))
    return _Source(artifact, route=route)


def _check_room(sources: list[_Source], folder: Path, job: StageJob, room: Room) -> None:
    """Raise `RefusedError` if the board cannot hold what all of it takes at a time."""
    lacking = room.lacks_memory() if any(source.route for source in sources) else None
    if lacking is not None:
        raise RefusedError(Refusal("patch_refused", NOT_ENOUGH_MEMORY, lacking))
    lacking = room.lacks_disk(sum(_peak_bytes(source, job) for source in sources), folder)
    if lacking is not None:
        raise RefusedError(Refusal("failed", "disk_full", lacking))


def _peak_bytes(source: _Source, job: StageJob) -> int:
    """What making an artifact takes on the disk: of a route's files the two largest neighbours, all known by header."""
    try:
        between = [read_header(_mapped(_blob(patch, job))).new_size for patch in source.route]
    except PatchError as error:
        raise RefusedError(Refusal("patch_failed", error.code, str(error))) from None
    return max(map(sum, pairwise([0, *between[:-1], source.artifact.blob.size])))


def _blob(patch: PatchRef, job: StageJob) -> Path:
    return Path(job.blobs_dir) / patch.blob.sha256


def _make(source: _Source, target: Path, job: StageJob) -> None:
    """Produce one artifact and check its hash."""
    if source.copy is not None:
        _copy_checked(source.copy, target, source.artifact)
    else:
        _follow(source.route, target, job)


def _follow(route: routes.Route, target: Path, job: StageJob) -> None:
    """Apply the patches of a route one after the other; of the files between only the last two exist at a time."""
    base = route[0].base_sha256
    old = Path(os.devnull if base == routes.EMPTY_SHA256 else job.have[base])
    for index, patch in enumerate(route):
        last = index == len(route) - 1
        made = target if last else target.with_name(f".{target.name}.{index}")
        _apply_patch(old, patch, made, _blob(patch, job))
        if index:
            old.unlink()
        old = made


def _copy_checked(source: Path, target: Path, artifact: Artifact) -> None:
    shutil.copyfile(source, target)
    if sha256_of(target) != artifact.blob.sha256:
        raise RefusedError(Refusal("failed", "hash_mismatch", f"{artifact.name} does not have the manifest's hash"))
    _sync(target)


def _apply_patch(old: Path, patch: PatchRef, target: Path, file: Path) -> None:
    """Apply with old file and patch mapped, so that memory stays small whatever the model's size."""
    try:
        with target.open("wb") as new_file:
            header = apply(_mapped(old), _mapped(file), new_file.write, max_new_bytes=MAX_BLOB_BYTES)
            new_file.flush()
            os.fsync(new_file.fileno())
    except PatchError as error:
        raise RefusedError(Refusal("patch_failed", error.code, str(error))) from None
    except MemoryError:
        detail = f"memory ran out while a patch made {target.name}"
        raise RefusedError(Refusal("patch_refused", NOT_ENOUGH_MEMORY, detail)) from None
    if header.new_sha256 != patch.new_sha256:
        raise RefusedError(Refusal("patch_failed", "wrong_result", f"the patch produces a different {target.name}"))


def _mapped(path: Path) -> memoryview:
    """A file's content without reading it; the mapping lives as long as its views, at most as long as this process."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:  # nothing cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
