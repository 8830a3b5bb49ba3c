"""A host's home with releases in its store, without a build. No tests here."""

import hashlib
from pathlib import Path

import msgspec

from skerry_agent.wire.admission import Needs
from skerry_agent.wire.blobs import CHUNK_BYTES
from skerry_agent.wire.envelope import RELEASE
from skerry_agent.wire.manifest import Artifact, Bundle, PatchRef, Provenance, Quality, Release
from skerry_agent.wire.postprocess import Decoder, Postprocess
from skerry_agent.wire.schemas import schema_of
from skerry_host.home import Home, init_home
from skerry_host.release import keys
from skerry_host.release.store import Store

QUALITY = Quality("top1", 2000, 0.91, 0.905, (0.9, 0.92), (0.89, 0.915), {"out": 30.0}, 400_000, 120_000)
PROVENANCE = Provenance("0" * 64, "1" * 64, {"litert-quantizer": "0.11.0"}, "2026-01-01T00:00:00Z")


def make_home(folder: Path) -> Home:
    """An initialised home."""
    return init_home(folder)


def model_bytes(seed: str, size: int) -> bytes:
    """Bytes that look like a model: the same for the same seed, and nothing compresses them."""
    block = hashlib.sha256(seed.encode()).digest()
    out = bytearray()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block
    return bytes(out[:size])


def add_release(  # noqa: PLR0913 - what tests want of a release, by name
    home: Home,
    version: str,
    model: bytes,
    *,
    base: bytes | None = None,
    patch: bytes = b"",
    newer_patch: bytes | None = None,
    decoder: Decoder = "decoded",
    chunk_bytes: int = CHUNK_BYTES,
    needs: Needs | None = None,
) -> Release:
    """Put a signed release `fashion@version` into the store, with a patch from `base` when it is given.

    `newer_patch` is one of version 2 of the patch format.
    """
    store = Store(home.store)
    artifact = Artifact("model.tflite", "model", store.put(model, chunk_bytes))
    golden = Artifact("golden.npz", "golden", store.put(b"golden of " + version.encode()))
    patches = ()
    if base is not None:
        base_sha = hashlib.sha256(base).hexdigest()
        patches = (PatchRef(base_sha, artifact.blob.sha256, "zstd", store.put(patch)),)
    newer = ()
    if base is not None and newer_patch is not None:
        newer = (PatchRef(base_sha, artifact.blob.sha256, "typed", store.put(newer_patch), 2),)
    counter = int(version.replace(".", ""))
    bundle = Bundle("cpu", (artifact, golden), (), (), postprocess=Postprocess(decoder), needs=needs)
    release = Release(
        schema_of([bundle]), "fashion", version, counter, (bundle,), QUALITY, PROVENANCE, patches, newer_patches=newer
    )
    envelope = keys.load(home.keys, "release").sign(RELEASE, msgspec.json.encode(release))
    store.add(release, envelope)
    return release
