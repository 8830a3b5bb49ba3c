"""The updater process: verifies trust, decides what to fetch, applies patches, makes bundles. Ends after one job.

`python -m skerry_agent.updater TRUST_FILE STATE_FOLDER SUPERVISOR_PID` reads one job as a JSON line and writes one
answer. Everything heavy (cryptography, numpy, zstandard) is imported here and gone with the process. It never touches
the journal: the supervisor does.
"""

import hashlib
import mmap
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from skerry_agent.disk import DiskError, make_folder, read_regular, sha256_of, sync_folder, what_failed
from skerry_agent.factory import laid_out
from skerry_agent.install import MANIFEST_FILE
from skerry_agent.jobs import (
    Answer,
    FactoryJob,
    FactoryReady,
    Payload,
    PlanJob,
    Planned,
    Refusal,
    Staged,
    StageJob,
    UpdaterJob,
    VerifyMessage,
)
from skerry_agent.keyfile import TrustError
from skerry_agent.lifetime import die_with_parent
from skerry_agent.patch import PatchError, apply
from skerry_agent.ports import Trust
from skerry_agent.records import FACTORY, Slot
from skerry_agent.slots import read_bundle, write_bundle
from skerry_agent.trust import KeyTrust
from skerry_agent.wire import codec, envelope, routes
from skerry_agent.wire.blobs import MAX_BLOB_BYTES, BlobRef
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.manifest import Artifact, Bundle, PatchRef, Release


class _RefusedError(SkerryError):
    """Ends a job with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def perform(job: UpdaterJob, trust: Trust) -> Answer:
    """Do one job. Every expected failure is an answer, not an exception."""
    try:
        return _PERFORMERS[type(job)](job, trust)
    except _RefusedError as refused:
        return refused.refusal
    except (TrustError, WireError) as error:
        return Refusal("rejected", error.code, str(error))
    except OSError as error:
        return Refusal("failed", "disk", what_failed(error))


def _verify(job: VerifyMessage, trust: Trust) -> Answer:
    return Payload(trust.verify(job.raw, job.payload_type, job.role))


def _manifest(file: str, release: str, trust: Trust) -> Release:
    """The verified manifest in `file`, which must be that of `release`."""
    manifest = codec.decode(trust.verify(Path(file).read_bytes(), envelope.RELEASE, "release"), Release)
    if manifest.name != release:
        raise WireError("manifest", [f"it is of release {manifest.name}, not {release}"], code="wrong_release")
    return manifest


# -- plan --------------------------------------------------------------------------------------------------------------


def _plan(job: PlanJob, trust: Trust) -> Answer:
    manifest = _manifest(job.manifest_file, job.release, trust)
    bundle = manifest.bundle(job.target)
    have = {sha256 for sha256, file in job.have.items() if _is(Path(file), sha256)}
    wanted: list[BlobRef] = []
    patched = False
    for artifact in bundle.artifacts:
        if artifact.blob.sha256 in have:
            continue
        route = None if job.force_full else routes.cheapest(manifest.patches, have, artifact.blob.sha256)
        if route is None and artifact.role == "model":
            _check_full_allowed(job, artifact)
        patched = patched or route is not None
        wanted += [artifact.blob] if route is None else [patch.blob for patch in route]
    _check_budget(job, wanted)
    bundle_bytes = sum(artifact.blob.size for artifact in bundle.artifacts)
    return Planned("patch" if patched else "full", tuple(wanted), bundle_bytes)


def _check_full_allowed(job: PlanJob, artifact: Artifact) -> None:
    rule = job.policy.full_fallback
    if rule == "never" or (rule == "unmetered" and job.metered):
        detail = f"no patch fits and full_fallback = {rule} forbids {artifact.blob.size} B of {artifact.name}"
        raise _RefusedError(Refusal("rejected", "full_not_allowed", detail))


def _check_budget(job: PlanJob, wanted: list[BlobRef]) -> None:
    total = sum(ref.size for ref in wanted)
    if job.policy.byte_budget is not None and job.spent + total > job.policy.byte_budget:
        came = f", {job.spent} B came already" if job.spent else ""
        detail = f"{total} B are needed, the byte budget is {job.policy.byte_budget} B{came}"
        raise _RefusedError(Refusal("rejected", "over_byte_budget", detail))


# -- stage -------------------------------------------------------------------------------------------------------------


def _stage(job: StageJob, trust: Trust) -> Answer:
    """Make the bundle in a temporary folder, then rename it: a bundle folder is complete or absent."""
    manifest = _manifest(job.manifest_file, job.release, trust)
    bundle = manifest.bundle(job.target)
    final = Path(job.bundle_dir)
    if not _complete(final, bundle):
        temporary = final.with_name(f".{final.name}.tmp")
        for leftover in (temporary, final):
            shutil.rmtree(leftover, ignore_errors=True)
        make_folder(temporary)
        try:
            for artifact in bundle.artifacts:
                _make(artifact, temporary / artifact.name, job, manifest)
            write_bundle(temporary, bundle)
            temporary.rename(final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Staged(bundle.model.blob.sha256)


def _complete(folder: Path, bundle: Bundle) -> bool:
    try:
        same = read_bundle(folder) == bundle
    except DiskError:
        return False
    return same and all(_is(folder / artifact.name, artifact.blob.sha256) for artifact in bundle.artifacts)


def _is(file: Path, sha256: str) -> bool:
    """Whether a file can be read and has that hash: what lies on a disk for months is not believed by its name."""
    try:
        return sha256_of(file) == sha256
    except OSError:
        return False


def _make(artifact: Artifact, target: Path, job: StageJob, manifest: Release) -> None:
    """Produce one artifact from a blob, from a file of another bundle, or by a patch; check its hash."""
    sha256 = artifact.blob.sha256
    fetched, held = Path(job.blobs_dir) / sha256, Path(job.have.get(sha256, ""))
    if fetched.is_file() or _is(held, sha256):
        _copy_checked(fetched if fetched.is_file() else held, target, artifact)
        return
    fetched_patches = [patch for patch in manifest.patches if (Path(job.blobs_dir) / patch.blob.sha256).exists()]
    route = routes.cheapest(fetched_patches, job.have.keys() - {sha256}, sha256)  # what is held of it has rotted
    if not route:
        detail = f"neither {artifact.name} nor a patch for it was fetched"
        raise _RefusedError(Refusal("failed", "missing_blob", detail))
    _follow(route, target, job)


def _follow(route: routes.Route, target: Path, job: StageJob) -> None:
    """Apply the patches of a route one after the other; of the files between only the last two exist at a time."""
    old = Path(job.have[route[0].base_sha256])
    for index, patch in enumerate(route):
        last = index == len(route) - 1
        made = target if last else target.with_name(f".{target.name}.{index}")
        _apply_patch(old, patch, made, Path(job.blobs_dir) / patch.blob.sha256)
        if index:
            old.unlink()
        old = made


def _copy_checked(source: Path, target: Path, artifact: Artifact) -> None:
    shutil.copyfile(source, target)
    if sha256_of(target) != artifact.blob.sha256:
        raise _RefusedError(Refusal("failed", "hash_mismatch", f"{artifact.name} does not have the manifest's hash"))
    _sync(target)


def _apply_patch(old: Path, patch: PatchRef, target: Path, file: Path) -> None:
    """Apply with old file and patch mapped, so that memory stays small whatever the model's size."""
    try:
        with target.open("wb") as new_file:
            header = apply(_mapped(old), _mapped(file), new_file.write, max_new_bytes=MAX_BLOB_BYTES)
            new_file.flush()
            os.fsync(new_file.fileno())
    except PatchError as error:
        raise _RefusedError(Refusal("patch_failed", error.code, str(error))) from None
    if header.new_sha256 != patch.new_sha256:
        raise _RefusedError(Refusal("patch_failed", "wrong_result", f"the patch makes another {target.name}"))


def _mapped(path: Path) -> memoryview:
    """A file's content without reading it; the mapping lives as long as its views, at most as long as this process."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:  # nothing cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


# -- factory -----------------------------------------------------------------------------------------------------------


def _factory(job: FactoryJob, trust: Trust) -> Answer:
    """Verify it where it lies: nothing is copied, so that it also serves on a disk that takes nothing."""
    raw = read_regular(Path(job.folder) / MANIFEST_FILE, codec.MAX_MESSAGE_BYTES + 1)
    manifest = codec.decode(trust.verify(raw, envelope.RELEASE, "release"), Release)
    if manifest.model != job.model:
        return Refusal("rejected", "wrong_release", f"it is of model {manifest.model}, not {job.model}")
    faults = []
    for target in (bundle.target for wanted in job.targets for bundle in manifest.bundles if bundle.target == wanted):
        bundle = laid_out(manifest.bundle(target))
        wrong = [a.role for a in bundle.artifacts if not _is(Path(job.folder) / a.name, a.blob.sha256)]
        if not wrong:
            manifest_sha256 = hashlib.sha256(raw).hexdigest()
            model_sha256 = bundle.model.blob.sha256
            return FactoryReady(Slot(FACTORY + job.model, manifest.name, target, manifest_sha256, model_sha256))
        faults.append(f"the {', '.join(wrong)} of its {target} bundle are gone or damaged")
    detail = "; ".join(faults) or f"it has no bundle for {', '.join(job.targets)}"
    return Refusal("failed", "factory_unfit", f"{manifest.name}: {detail}")


_PERFORMERS: dict[type, Callable[..., Answer]] = {
    VerifyMessage: _verify,
    PlanJob: _plan,
    StageJob: _stage,
    FactoryJob: _factory,
}


def main() -> None:
    """One job in, one answer out. Ends with its supervisor: two updaters must never work on one folder."""
    die_with_parent()
    if os.getppid() != int(sys.argv[3]):  # it died before it could be watched
        sys.exit(1)
    job: UpdaterJob = codec.decode(sys.stdin.buffer.readline(), UpdaterJob)  # type: ignore[arg-type]
    try:
        answer = perform(job, KeyTrust.from_file(Path(sys.argv[1]), Path(sys.argv[2])))
    except TrustError as error:
        answer = Refusal("rejected", error.code, str(error))
    except Exception as error:  # noqa: BLE001 - the host shall learn of a defect, not only that the process died
        traceback.print_exc()
        answer = Refusal("failed", "updater_error", f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(codec.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
