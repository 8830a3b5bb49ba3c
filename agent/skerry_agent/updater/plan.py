"""Plans what to fetch for a release: patches where a route of them fits, else whole files, within the policy.

And the wheelhouse of its runtime, where one is ordered that is not installed. Fetches nothing and writes nothing.
"""

from pathlib import Path

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import PlanJob, Planned, Refusal
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.files import has_hash
from skerry_agent.updater.room import NOT_ENOUGH_MEMORY, Room
from skerry_agent.updater.runtime import plan_runtime
from skerry_agent.updater.verify import read_manifest
from skerry_agent.wire import routes
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.manifest import PATCH_FORMAT, Artifact


def plan(job: PlanJob, trust: Trust, room: Room) -> Planned:
    """Decide what to fetch; no patch where the board could not apply it.

    Raises `RefusedError`, `TrustError`, `WireError`, `OSError`.
    """
    manifest = read_manifest(job.manifest_file, job.release, trust)
    bundle = manifest.bundle(job.target)
    have = {sha256 for sha256, file in job.have.items() if has_hash(Path(file), sha256)}
    wanted: list[BlobRef] = []
    patched, patches = False, manifest.patches_up_to(PATCH_FORMAT)
    lacking = room.lacks_memory()
    for artifact in bundle.artifacts:
        if artifact.blob.sha256 in have:
            continue
        route = None if job.force_full else routes.cheapest(patches, have, artifact.blob.sha256)
        refused = lacking if route else None
        route = None if refused else route
        if route is None and artifact.role == "model":
            _check_full_allowed(job, artifact, refused)
        patched = patched or route is not None
        wanted += [artifact.blob] if route is None else [patch.blob for patch in route]
    bundle_bytes = sum(artifact.blob.size for artifact in bundle.artifacts)
    if job.runtime is not None:
        wheels, installed_bytes = plan_runtime(job.runtime, trust)
        wanted += [wheels] if wheels is not None else []
        bundle_bytes += installed_bytes
    _check_budget(job, wanted)
    return Planned("patch" if patched else "full", tuple(wanted), bundle_bytes)


def _check_full_allowed(job: PlanJob, artifact: Artifact, refused: str | None) -> None:
    """`refused`: why the patch that fits cannot be applied here."""
    rule = job.policy.full_fallback
    if rule == "never" or (rule == "unmetered" and job.metered):
        forbids = f"full_fallback = {rule} forbids {artifact.blob.size} B of {artifact.name}"
        if refused is not None:
            raise RefusedError(Refusal("rejected", NOT_ENOUGH_MEMORY, f"{refused}; {forbids}"))
        raise RefusedError(Refusal("rejected", "full_not_allowed", f"no patch fits, and {forbids}"))


def _check_budget(job: PlanJob, wanted: list[BlobRef]) -> None:
    total = sum(ref.size for ref in wanted)
    if job.policy.byte_budget is not None and job.spent + total > job.policy.byte_budget:
        came = f", {job.spent} B of it already used" if job.spent else ""
        detail = f"{total} B are needed, the byte budget is {job.policy.byte_budget} B{came}"
        raise RefusedError(Refusal("rejected", "over_byte_budget", detail))
