"""An updater's bench: a device's folders, a signed release, and what the updater makes of jobs there."""

import base64
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from skerry_agent.ports.jobs import PlanJob, StageJob
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.updater.room import Room
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import BlobRef, describe
from skerry_agent.wire.envelope import Envelope, Signature, signing_bytes
from skerry_agent.wire.manifest import Artifact, Bundle, PatchRef, Provenance, Quality, Release, TensorSpec
from skerry_agent.wire.twin import TransferPolicy
from tests.kit.patch_models import patch_of

OLD = random.Random(1).randbytes(20_000)
NEW = OLD[:9_000] + b"changed" + OLD[9_007:]
SPEC = TensorSpec("x", "int8", (1, 4))
QUALITY = Quality("top1", 1, 1.0, 1.0, (0.0, 1.0), (0.0, 1.0), {}, 1, 1)
PROVENANCE = Provenance("a" * 64, "b" * 64, {}, "now")


class Signer:
    def __init__(self):
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key()
        self.keyid = hashlib.sha256(self.public.public_bytes_raw()).hexdigest()

    def envelope(self, kind, payload):
        signature = Signature(self.keyid, self.key.sign(signing_bytes(kind, payload)))
        return codec.encode(Envelope(kind, payload, (signature,)))


def board(root: Path, files: dict[str, str]) -> Room:
    """A board whose kernel says what stands in these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Room(root)


@dataclass(frozen=True)
class SmallDisk(Room):
    """A board with so many bytes left on its disk."""

    free: int = 0

    def free_disk_bytes(self, folder: Path) -> int:
        return self.free


class Bench:
    """A device's folders with an installed OLD, and a release of NEW with a patch from it."""

    def __init__(self, folder: Path):
        self.folder, self.room = folder, Room()
        self.signer, self.stranger = Signer(), Signer()
        self.trust = KeyTrust({"release": {self.signer.keyid: self.signer.public}})
        self.blobs, self.bundle_dir = folder / "blobs", folder / "bundles" / "new-cpu"
        self.blobs.mkdir()
        old_file = folder / "old.tflite"
        old_file.write_bytes(OLD)
        self.have = {describe(OLD).sha256: str(old_file)}
        self.manifest_file = folder / "manifest"
        made = patch_of(OLD, NEW)
        assert made.fallback
        self.patch, self.newer_patch = made.fallback.data, made.data
        self.offer(describe(NEW), describe(self.patch))

    def offer(self, new: BlobRef, patch: BlobRef):
        """Sign a release of one model, with a patch from OLD."""
        bundle = Bundle("cpu", (Artifact("model.tflite", "model", new),), (SPEC,), (SPEC,))
        patches = (PatchRef(describe(OLD).sha256, new.sha256, "zstd", patch),)
        self.release = Release(1, "m", "1.1.0", 1, (bundle,), QUALITY, PROVENANCE, patches)
        self.sign(self.signer)

    def sign(self, signer, release=None):
        payload = codec.encode(release or self.release)
        self.manifest_file.write_bytes(signer.envelope(envelope.RELEASE, payload))

    @property
    def trust_file(self) -> Path:
        """The keys as a process finds them."""
        file = self.folder / "trust.json"
        file.write_text(json.dumps({"release": [base64.b64encode(self.signer.public.public_bytes_raw()).decode()]}))
        return file

    def put(self, data: bytes, name: str | None = None):
        (self.blobs / (name or describe(data).sha256)).write_bytes(data)

    def plan(self, **changes):
        policy = TransferPolicy(**{k: changes.pop(k) for k in ("full_fallback", "byte_budget") if k in changes})
        job = PlanJob("m@1.1.0", "cpu", str(self.manifest_file), self.have, policy)
        return perform(replace(job, **changes), self.trust, self.room)

    def stage_job(self) -> StageJob:
        return StageJob("m@1.1.0", "cpu", str(self.manifest_file), self.have, str(self.blobs), str(self.bundle_dir))

    def stage(self, **changes):
        return perform(replace(self.stage_job(), **changes), self.trust, self.room)
