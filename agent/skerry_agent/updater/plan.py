"""Plans what to fetch for a release: patches where a route of them fits, else whole files, within the policy.

And the wheelhouse of its runtime, where one is ordered that is not installed. Fetches nothing and writes nothing.
"""

import sys
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import PlanJob, Planned, Refusal
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.files import has_hash
from skerry_agent.updater.room import NOT_ENOUGH_MEMORY, Room
from skerry_agent.updater.runtime import plan_runtime, read_order
from skerry_agent.updater.verify import read_manifest
from skerry_agent.wire import routes
from skerry_agent.wire.admission import lasting, obstacles
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.manifest import PATCH_FORMAT, Artifact, Bundle, Release


def plan(job: PlanJob, trust: Trust, room: Room) -> Planned:
    """Decide what to fetch; no patch where the board could not apply it.

    Raises `RefusedError`, `TrustError`, `WireError`, `OSError`.
    """
    manifest = read_manifest(job.manifest_file, job.release, trust)
    bundle = manifest.bundle(job.target)
    spare = next((each for each in manifest.offered if each.target == job.spare), None)
    _check_admitted(bundle, job, trust, spared=spare is not None)
    have = {sha256 for sha256, file in job.have.items() if has_hash(Path(file), sha256)}
    wanted, patched = _wanted(bundle, job, (manifest, have, room))
    bundle_bytes = sum(artifact.blob.size for artifact in bundle.artifacts)
    if job.runtime is not None:
        wheels, installed_bytes = plan_runtime(job.runtime, trust)
        wanted += [wheels] if wheels is not None else []
        bundle_bytes += installed_bytes
    _check_budget(job, wanted)
    planned = Planned("patch" if patched else "full", tuple(wanted), bundle_bytes)
    if spare is None:
        return planned
    held = have | {artifact.blob.sha256 for artifact in bundle.artifacts}
    more = _wanted_of_spare(spare, job, (manifest, held, room), wanted)
    return replace(planned, spare=tuple(more), spare_bytes=sum(each.blob.size for each in spare.artifacts))


def _wanted(bundle: Bundle, job: PlanJob, given: tuple[Release, set[str], Room]) -> tuple[list[BlobRef], bool]:
    """(blobs to be fetched, whether one is a patch). Raises `RefusedError` where the policy forbids it."""
    manifest, have, room = given
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
    return wanted, patched


def _wanted_of_spare(
    spare: Bundle, job: PlanJob, given: tuple[Release, set[str], Room], others: list[BlobRef]
) -> list[BlobRef]:
    """What the spare bundle takes beside the others; nothing where it may not come, or not all of it."""
    try:
        more = [ref for ref in _wanted(spare, job, given)[0] if ref not in others]
        _check_budget(job, [*others, *more])
    except RefusedError as error:
        print(f"no {spare.target} bundle is kept beside it: {error}", file=sys.stderr)  # noqa: T201 - the agent's log
        return []
    return more


def _check_admitted(bundle: Bundle, job: PlanJob, trust: Trust, *, spared: bool) -> None:
    """Raise `RefusedError` with the first thing that this device lacks; with a spare, only what that lacks, too."""
    facts = job.facts
    if facts is not None and job.runtime is not None:
        brought = read_order(job.runtime, trust).wheelhouse.distributions
        facts = replace(facts, runtimes={**(facts.runtimes or {}), **brought}, engines={})
    found = obstacles(bundle.needs, facts)
    found = lasting(found) if spared else found
    if found:
        words = "; ".join(each.detail for each in found)
        raise RefusedError(Refusal("rejected", found[0].code, words))


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
