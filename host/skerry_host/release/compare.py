"""What differs between two releases. Pure: manifests in, rows out."""

from collections.abc import Iterator, Sequence, Set

from msgspec import Struct

from skerry_agent.wire.manifest import PATCH_FORMAT, Bundle, PatchRef, Release
from skerry_agent.wire.routes import bytes_of, cheapest
from skerry_agent.wire.targets import TargetName
from skerry_host.metric_words import in_its_unit


class Difference(Struct, frozen=True):
    """One property in both releases, as shown to people; `-` where one of them lacks it."""

    what: str
    old: str
    new: str


class Transfer(Struct, frozen=True):
    """Bytes of artifacts for one target: those that a device must download from one release to the next, and all."""

    target: TargetName
    fetched: int
    full: int
    patched: bool


def compare(old: Release, new: Release) -> list[Difference]:
    """Every property that differs, in the order of the manifest."""
    before, after = dict(_properties(old)), dict(_properties(new))
    names = [*before, *(name for name in after if name not in before)]
    rows = [Difference(name, before.get(name, "-"), after.get(name, "-")) for name in names]
    return [row for row in rows if row.old != row.new]


def transfers(old: Release, new: Release) -> list[Transfer]:
    """What a device with this agent that runs `old` must fetch for `new`, for each target of `new`."""
    held = {artifact.blob.sha256 for bundle in old.offered for artifact in bundle.artifacts}
    patches = new.patches_up_to(PATCH_FORMAT)
    return [transfer(patches, bundle, held) for bundle in new.offered]


def transfer(patches: Sequence[PatchRef], bundle: Bundle, held: Set[str]) -> Transfer:
    """What a device that holds some files and can apply `patches` must fetch for a bundle."""
    fetched, patched = 0, False
    for artifact in bundle.artifacts:
        route = cheapest(patches, held, artifact.blob.sha256)
        fetched += artifact.blob.size if route is None else bytes_of(route)
        patched = patched or bool(route)
    return Transfer(bundle.target, fetched, sum(artifact.blob.size for artifact in bundle.artifacts), patched)


def _properties(release: Release) -> Iterator[tuple[str, str]]:
    quality, provenance = release.quality, release.provenance
    yield "counter", str(release.counter)
    before = "-" if quality.float_value is None else in_its_unit(quality.float_value, quality.unit)
    yield f"{quality.metric} float", before
    yield f"{quality.metric} int8", in_its_unit(quality.int8_value, quality.unit)
    yield "int8 bytes", str(quality.int8_bytes)
    for output, decibels in quality.sqnr_db.items():
        yield f"SQNR of {output}", f"{decibels:.1f} dB"
    yield "source", provenance.source_sha256[:12]
    yield "recipe", provenance.recipe_sha256[:12]
    yield from provenance.tools.items()
    for bundle in release.offered:
        yield from _bundle_properties(bundle)


def _bundle_properties(bundle: Bundle) -> Iterator[tuple[str, str]]:
    for artifact in bundle.artifacts:
        yield f"{bundle.target} {artifact.name}", f"{artifact.blob.sha256[:12]} ({artifact.blob.size} B)"
    for spec in (*bundle.inputs, *bundle.outputs):
        shape = "x".join(map(str, spec.shape))
        yield f"{bundle.target} {spec.name}", f"{spec.dtype} {shape} scale {spec.scale:.6g} zero {spec.zero_point}"
    yield f"{bundle.target} preprocess", f"x {bundle.preprocess.scale:.6g} + {bundle.preprocess.offset:.6g}"
    limit = bundle.probation.latency_p95_us
    yield f"{bundle.target} p95 limit", f"{limit:.0f} us" if limit else "none"
