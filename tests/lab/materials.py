"""Releases of a model that is nothing but bytes: signed manifests, chunks and patches, as a broker would retain them.

Small on purpose: a laboratory point costs what it reads and writes. Only an export touches a disk.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from skerry_agent.state.install import MANIFEST_FILE
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import BlobRef, describe, digest_list, split
from skerry_agent.wire.manifest import (
    Artifact,
    Bundle,
    PatchRef,
    Probation,
    Provenance,
    Quality,
    Release,
    Role,
    TensorSpec,
)
from skerry_agent.wire.targets import TargetName
from skerry_agent.wire.twin import Assignment, Desired
from skerry_host.release.sign import Ed25519Signer
from tests.kit.patch_models import patch_of
from tests.kit.wheels import Wheel, manifest_of, wheelhouse_of, wheelhouse_tar

DEVICE = "lab-01"
MODEL, RUNTIME = "m", "rt"
QUALITY = Quality("top1", 100, 0.9, 0.9, (0.8, 1.0), (0.8, 1.0), {}, 1, 1)
PROVENANCE = Provenance("0" * 64, "1" * 64, {}, "2026-01-01T00:00:00Z")
SPEC = TensorSpec("x", "int8", (1, 4))
BUDGET = Probation(min_inferences=10, max_seconds=20.0, latency_p95_us=5000.0)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SLOW_US, QUICK_US = 20_000.0, 100.0


def noise(seed: str, size: int) -> bytes:
    """Bytes that nothing compresses, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _edited(data: bytes, seed: str) -> bytes:
    """`data` with a stretch in the middle replaced, as a later training run would do."""
    start, length = len(data) // 3, len(data) // 8
    return data[:start] + noise(seed, length) + data[start + length :]


@dataclass
class Publisher:
    """A host reduced to what it retains on the broker. `chunk_bytes` is the size of the pieces.

    `accelerated`: releases have a bundle for the Edge TPU, too, and that is ordered.
    """

    chunk_bytes: int = 4096
    size: int = 20_000
    accelerated: bool = False
    retained: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, BlobRef] = field(default_factory=dict)
    _models: dict[str, dict[Role, bytes]] = field(default_factory=dict)
    _generation: int = 0

    def __post_init__(self) -> None:
        self._signer = Ed25519Signer(KEY)

    @property
    def keys(self) -> bytes:
        """trust.json of the devices."""
        key = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
        return msgspec.json.encode({"release": [key], "director": [key]})

    def release(self, version: str, *, after: str | None = None, patched: bool = True) -> str:
        """Publish a release, derived from another if `after` names one; with a patch from it if `patched`."""
        files = self._files(version, after)
        patches = self._patches(files, after) if after and patched else ()
        artifacts = tuple(Artifact(f"{role}.bin", role, self._put(data)) for role, data in files.items())
        bundles = [Bundle("cpu", artifacts, (SPEC,), (SPEC,), probation=BUDGET)]
        if self.accelerated:
            compiled = Artifact("model.bin", "model", self._put(noise(f"compiled {version}", self.size)))
            bundles.insert(0, replace(bundles[0], target="edgetpu", artifacts=(compiled, *artifacts[1:])))
        manifest = Release(1, MODEL, version, len(self.manifests) + 1, tuple(bundles), QUALITY, PROVENANCE, patches)
        signed = self._signer.sign(envelope.RELEASE, codec.encode(manifest))
        self.manifests[manifest.name] = self._put(codec.encode(signed))
        self._models[version] = files
        return manifest.name

    def export(self, version: str, folder: Path) -> None:
        """Write a release into a folder, as `skerry release export` does."""
        folder.mkdir(parents=True)
        for data in self._models[version].values():
            (folder / describe(data).sha256).write_bytes(data)
        manifest = self.manifests[f"{MODEL}@{version}"]
        pieces = (self.retained[topics.chunk(manifest.sha256, index)] for index in range(manifest.chunks))
        (folder / MANIFEST_FILE).write_bytes(b"".join(pieces))

    def runtime(self, version: str) -> str:
        """Publish a runtime of one tiny wheel, and return its name."""
        wheel = Wheel(RUNTIME, version, {f"{RUNTIME}/{name}.py": f"# {version}\n" for name in ("__init__", "part")})
        tar = wheelhouse_tar(wheel)
        wheelhouse = replace(wheelhouse_of(tar, wheel), artifact=self._put(tar))
        manifest = manifest_of(wheelhouse, name=RUNTIME, version=version)
        signed = self._signer.sign(envelope.RUNTIME, codec.encode(manifest))
        self.manifests[manifest.full_name] = self._put(codec.encode(signed))
        return manifest.full_name

    def desired(self, order: str, deployment: str) -> bytes:
        """Retain a signed desired state that orders a release, or `RELEASE+RUNTIME`; its bytes."""
        self._generation += 1
        release, _, runtime = order.partition("+")
        with_runtime = {"runtime": self.manifests[runtime]} if runtime else {}
        target: TargetName = "edgetpu" if self.accelerated else "cpu"
        assignment = Assignment(MODEL, release, target, self.manifests[release], deployment, **with_runtime)
        state = Desired(DEVICE, self._generation, 1_800_000_000.0, (assignment,))
        raw = codec.encode(self._signer.sign(envelope.DESIRED, codec.encode(state)))
        self.retained[topics.desired(DEVICE)] = raw
        return raw

    def _files(self, version: str, after: str | None) -> dict[Role, bytes]:
        if after is None:
            files: dict[Role, bytes] = {"model": noise(f"model {version}", self.size)}
        else:
            files = {"model": _edited(self._models[after]["model"], version)}
        return {**files, "golden": noise(f"golden {version}", 3000), "labels": b"cat\ndog\n"}

    def _patches(self, files: dict[Role, bytes], after: str) -> tuple[PatchRef, ...]:
        old, new = self._models[after]["model"], files["model"]
        patch = patch_of(old, new)
        digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()
        return (PatchRef(*digests, patch.codec, self._put(patch.data)),)

    def _put(self, data: bytes) -> BlobRef:
        ref = describe(data, self.chunk_bytes)
        for index, piece in enumerate(split(data, self.chunk_bytes)):
            self.retained[topics.chunk(ref.sha256, index)] = piece
        if ref.digests_sha256:
            self.retained[topics.digests(ref.sha256)] = digest_list(data, self.chunk_bytes)
        return ref
