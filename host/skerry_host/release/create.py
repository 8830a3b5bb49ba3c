"""From a build's folder to a signed, immutable release in a store, with patches from the releases before it.

Knows a build only by its build.json (`skerry_host.build_record`); judges no model, and holds no key.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec import Raw
from msgspec.structs import replace

from skerry_agent.wire import blobs, codec, envelope
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import PATCH_FORMAT, Artifact, Bundle, PatchRef, Release
from skerry_agent.wire.names import release_name, split_release
from skerry_agent.wire.routes import EMPTY_SHA256, Route, bytes_of, cheapest
from skerry_agent.wire.schemas import schema_of
from skerry_agent.wire.targets import FIRST_TARGETS
from skerry_host.build_record import FILE, BuildRecord
from skerry_host.patch import EncodeError, Fallback, Patch
from skerry_host.patch import create as make_patch
from skerry_host.release.errors import ReleaseError, StoreError
from skerry_host.release.needs import with_needs
from skerry_host.release.sign import Signer
from skerry_host.release.store import Store

PATCHES_FROM = 3
"""How many earlier releases get a patch of their own."""

CHAINS_FROM = 10
"""How many releases back patches are kept, for devices that apply them one after the other instead of the full file."""

REFERENCE_BYTES = 400
"""About what one more patch adds to the signed manifest, which every device fetches."""

WORTH_PACKING_BYTES = blobs.CHUNK_BYTES
"""A file is packed where that saves a chunk: less is not worth another blob."""

PACKED_SINCE = 2
"""The version of the patch format whose agents know that they hold the empty file."""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A request for a release. Without `version` it takes the one of the build.

    Its files travel in chunks of `chunk_bytes`, which must fit in one message of the broker.
    """

    build: Path
    version: str | None = None
    patches_from: int = PATCHES_FROM
    notes: str = ""
    chunk_bytes: int = blobs.CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Created:
    """A release in the store, the reference of its signed manifest, and whether it was there before.

    `warnings` says where a patch is larger than it should be, or missing, because the encoder or the store failed.
    """

    release: Release
    manifest: BlobRef
    existed: bool
    warnings: tuple[str, ...] = ()


Share = Callable[[float], None]
Encoder = Callable[[bytes, bytes, Share], Patch]
"""Makes the patch from the first file to the second, and tells its progress as a share from 0 to 1."""


class Progress(Protocol):
    """Told at the start of every step, and during long ones: `done` parts of `of`; 0 of 0 if that is not known."""

    def __call__(self, step: str, done: int = 0, of: int = 0, /) -> None:
        """Show it."""


def silent(step: str, done: int = 0, of: int = 0, /) -> None:
    """Show nothing."""


def with_progress(old: bytes, new: bytes, share: Share) -> Patch:
    """The smallest patch."""
    return make_patch(old, new, progress=share)


def create_release(
    request: ReleaseRequest,
    store: Store,
    signer: Signer,
    progress: Progress = silent,
    encoder: Encoder = with_progress,
) -> Created:
    """Add a build to the store as a signed release; the same build again changes nothing.

    A patch that cannot be made, also because the store has lost the earlier file, is left out: devices can always take
    the full file. Raises `ReleaseError` if the folder is not a build, is damaged, or the name is taken; `StoreError` if
    a manifest is damaged; `OSError`.
    """
    record = read_build(request.build)
    contents = read_artifacts(request.build, record)
    record = _needing(_chunked(record, contents, request.chunk_bytes), contents)
    name = _name(record, request.version)
    with store.exclusive():
        if name in store.releases():
            return _existing(store, name, record)
        earlier = [store.release(other) for other in store.releases() if split_release(other)[0] == record.model]
        bases = earlier[-request.patches_from :] if request.patches_from > 0 else []
        warnings: list[str] = []
        pairs = _told([*_pairs(record, bases), *_packable(record, contents)], progress)
        made = [
            (replace(ref, blob=blobs.describe(data, request.chunk_bytes)), data)
            for ref, data in _patches(pairs, contents, store, encoder, warnings)
        ]
        for data in (*contents.values(), *(data for _ref, data in made)):
            store.put(data)
        patches = [ref for ref, _data in made]
        chains = _chains(record, patches, bases, earlier[-CHAINS_FROM:])
        patches += [patch for patch in chains if min(patch.blob.size, patch.blob.chunk_bytes) <= request.chunk_bytes]
        counter = max((other.counter for other in earlier), default=0) + 1
        release = _manifest(record, name, counter, request.notes, patches)
        manifest = store.add(release, signer.sign(envelope.RELEASE, codec.encode(release)))
    return Created(release, manifest, existed=False, warnings=tuple(warnings))


def _manifest(record: BuildRecord, name: str, counter: int, notes: str, patches: Sequence[PatchRef]) -> Release:
    known, newer = by_age(record.bundles)
    return Release(
        schema=schema_of(record.bundles),
        model=record.model,
        version=split_release(name)[1],
        counter=counter,
        bundles=known,
        quality=record.quality,
        provenance=record.provenance,
        patches=tuple(patch for patch in patches if patch.format_version == 1),
        notes=notes,
        newer_patches=tuple(patch for patch in patches if patch.format_version > 1),
        newer_bundles=newer,
    )


def by_age(
    bundles: Sequence[Bundle], first: Collection[str] = FIRST_TARGETS
) -> tuple[tuple[Bundle, ...], tuple[Raw, ...]]:
    """Those that every agent reads, and those for later targets; all of them where the release has no other."""
    known = tuple(bundle for bundle in bundles if bundle.target in first)
    if not known:
        return tuple(bundles), ()
    return known, tuple(Raw(codec.encode(bundle)) for bundle in bundles if bundle.target not in first)


def read_build(folder: Path) -> BuildRecord:
    """The record of a build; raises `ReleaseError` when the folder has none or it is malformed."""
    path = folder / FILE
    try:
        return codec.decode(path.read_bytes(), BuildRecord)
    except OSError as error:
        hint = "make one with `skerry model build`"
        raise ReleaseError(f"{folder} is not a build: {FILE}: {error.strerror}", hint=hint, code="no_build") from None
    except WireError as error:
        raise ReleaseError(f"{path} is malformed: {'; '.join(error.issues)}", code="no_build") from None


def read_artifacts(folder: Path, record: BuildRecord) -> dict[str, bytes]:
    """The content of each artifact by sha256.

    Raises `ReleaseError` for every file that is not what was built, `BlobSizeError` for one that devices do not accept.
    """
    contents: dict[str, bytes] = {}
    issues: list[str] = []
    for artifact in (artifact for bundle in record.bundles for artifact in bundle.artifacts):
        path = folder / artifact.name
        try:
            blobs.check_size(str(path), path.stat().st_size)
            data = path.read_bytes()
        except OSError as error:
            issues.append(f"{artifact.name}: {error.strerror}")
            continue
        if blobs.describe(data, artifact.blob.chunk_bytes) != artifact.blob:
            issues.append(f"{artifact.name}: changed since it was built")
        contents[artifact.blob.sha256] = data
    if issues:
        raise ReleaseError(f"build {folder}: {'; '.join(issues)}", hint="build it again", code="changed")
    return contents


def _chunked(record: BuildRecord, contents: Mapping[str, bytes], chunk_bytes: int) -> BuildRecord:
    """The record, with its files cut into chunks of that size. Raises `ReleaseError` where they would be too many."""

    def cut(artifact: Artifact) -> Artifact:
        try:
            return replace(artifact, blob=blobs.describe(contents[artifact.blob.sha256], chunk_bytes))
        except ValueError as error:
            hint = "choose larger chunks with --chunk-bytes, and serve blobs over HTTP"
            raise ReleaseError(f"{artifact.name}: {error}", hint=hint, code="chunks") from None

    bundles = (replace(b, artifacts=tuple(map(cut, b.artifacts))) for b in record.bundles)
    return replace(record, bundles=tuple(bundles)) if chunk_bytes != blobs.CHUNK_BYTES else record


def _needing(record: BuildRecord, contents: Mapping[str, bytes]) -> BuildRecord:
    """The record, with what each bundle needs of a device."""
    return replace(record, bundles=tuple(with_needs(b, contents[b.model.blob.sha256]) for b in record.bundles))


def _name(record: BuildRecord, version: str | None) -> str:
    chosen = version or record.version
    if chosen is None:
        raise ReleaseError(f"the build of {record.model} has no version", hint="give --version", code="version")
    try:
        return release_name(record.model, chosen)
    except WireError as error:
        raise ReleaseError("; ".join(error.issues), hint=f"{chosen!r} is not a version", code="version") from None


def _existing(store: Store, name: str, record: BuildRecord) -> Created:
    """The release of that name, if it is of the same artifacts, recipe and source."""
    release = store.release(name)
    there, here = release.provenance, record.provenance
    same_origin = (there.source_sha256, there.recipe_sha256) == (here.source_sha256, here.recipe_sha256)
    if not _same(release.offered, record.bundles) or not same_origin:
        hint = "releases never change: choose a new version"
        raise ReleaseError(f"release {name} already exists with different content", hint=hint, code="exists")
    return Created(release, store.manifest_ref(name), existed=True)


def _same(there: tuple[Bundle, ...], here: tuple[Bundle, ...]) -> bool:
    """The same bundles; what they need was not said in releases of before, and is known better with time."""
    ours, theirs = ({b.target: replace(b, needs=None) for b in bundles} for bundles in (there, here))
    return ours == theirs


def _pairs(record: BuildRecord, bases: Sequence[Release]) -> list[tuple[str, str]]:
    """Each other file of the same target and name, and the new file, by sha256."""
    pairs = {
        (old.blob.sha256, new.blob.sha256)
        for bundle in record.bundles
        for base in bases
        for before in base.offered
        for old in before.artifacts
        for new in bundle.artifacts
        if (before.target, old.name) == (bundle.target, new.name)
    }
    return sorted(pair for pair in pairs if pair[0] != pair[1])


def _packable(record: BuildRecord, contents: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """The empty file and each file that may be sent packed, by sha256: golden inputs above all.

    Not a model: whether it may be sent whole is for a deployment's policy to say.
    """
    every = {a.blob.sha256 for bundle in record.bundles for a in bundle.artifacts if a.role != "model"}
    return [(EMPTY_SHA256, sha256) for sha256 in sorted(every) if len(contents[sha256]) > WORTH_PACKING_BYTES]


def _told(pairs: Sequence[tuple[str, str]], progress: Progress) -> Iterator[tuple[str, str, Share]]:
    """The pairs, each with what is to be told the progress of its patch."""
    for number, (base, new) in enumerate(pairs, 1):
        step = f"making patch {number} of {len(pairs)}"
        yield base, new, partial(_tell, progress, step)


def _tell(progress: Progress, step: str, share: float) -> None:
    progress(step, round(100 * share), 100)


def _patches(
    pairs: Iterable[tuple[str, str, Share]],
    contents: Mapping[str, bytes],
    store: Store,
    encoder: Encoder,
    warnings: list[str],
) -> Iterator[tuple[PatchRef, bytes]]:
    """Patches of each pair, for all agents and for newer ones, where they are smaller than the new file.

    What failed on the way is added to `warnings`.
    """
    for base, new, share in pairs:
        try:
            patch = encoder(b"" if base == EMPTY_SHA256 else store.get(base), contents[new], share)
        except (EncodeError, StoreError) as error:
            warnings.append(f"no patch from {base[:12]}: {error}")
            continue
        warnings += (f"patch from {base[:12]}: {failure}" for failure in patch.failed)
        yield from _offered(base, new, patch, len(contents[new]))


def _offered(base: str, new: str, patch: Patch, full: int) -> Iterator[tuple[PatchRef, bytes]]:
    """What a manifest offers of a patch: itself and its fallback, as far as they save enough of the `full` bytes.

    Agents that know only version 1 of the patch format do not know that they hold the empty file.
    """
    packed = base == EMPTY_SHA256
    for one in [patch] if packed else _worthwhile(patch):
        version = max(PACKED_SINCE, one.format_version) if packed else one.format_version
        if len(one.data) + (WORTH_PACKING_BYTES if packed else 1) <= full:
            yield PatchRef(base, new, one.codec, blobs.describe(one.data), version), one.data


def _worthwhile(patch: Patch) -> Sequence[Patch | Fallback]:
    """`patch` and its fallback, or only the fallback where two cost the manifest more than the better one saves."""
    fallback = patch.fallback
    if fallback is None:
        return [patch]
    return [patch, fallback] if len(patch.data) + REFERENCE_BYTES < len(fallback.data) else [fallback]


def _chains(
    record: BuildRecord, direct: Sequence[PatchRef], bases: Sequence[Release], earlier: Sequence[Release]
) -> list[PatchRef]:
    """Earlier patches, as far as they lead a device that is further behind here for less than the file."""
    known = [*direct, *(patch for base in bases for patch in base.patches_up_to(PATCH_FORMAT))]
    kept = {
        patch
        for patch_format in range(1, PATCH_FORMAT + 1)
        for usable in ([patch for patch in known if patch.format_version <= patch_format],)
        for bundle in record.bundles
        for other in earlier
        for before in other.offered
        for old in before.artifacts
        for new in bundle.artifacts
        if (before.target, old.name) == (bundle.target, new.name)
        for patch in _shorter(cheapest(usable, {old.blob.sha256}, new.blob.sha256), new.blob.size)
    }
    return sorted(kept - set(direct), key=lambda patch: (patch.base_sha256, patch.new_sha256))


def _shorter(route: Route | None, full: int) -> Route:
    return route if route and bytes_of(route) < full else ()
