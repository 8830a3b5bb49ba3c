"""The content-addressed store of artifacts and signed releases. Stores bytes; makes and signs nothing.

    objects/ab/<sha256>               every artifact, patch and signed manifest, by its hash
    releases/<model>/<version>.json   the signed envelope, byte for byte as it was signed
    runtimes/<name>/<version>.json    the same of runtimes and agents (`runtime_store`)

Objects are written once and checked whenever they are read; a release is never changed.
"""

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_agent.wire import blobs, codec
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.names import SHA256_PATTERN, split_release
from skerry_agent.wire.twin import SlotReport
from skerry_host.files import write_atomic, write_new
from skerry_host.release.errors import ReleaseError, StoreError
from skerry_host.release.signed_files import SignedFiles


class Store:
    """A folder of objects and releases; made when it is first written to."""

    __slots__ = ("_lock", "_objects", "_releases", "runtimes")

    def __init__(self, path: Path) -> None:
        self._lock = path / ".lock"
        self._objects = path / "objects"
        self._releases = SignedFiles(path / "releases")
        self.runtimes = SignedFiles(path / "runtimes")

    def put(self, data: bytes, chunk_bytes: int = blobs.CHUNK_BYTES) -> BlobRef:
        """Keep an object; writing what is there already costs a check only. Raises `OSError`."""
        ref = blobs.describe(data, chunk_bytes)
        path = self._object(ref.sha256)
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)
        return ref

    def get(self, sha256: str) -> bytes:
        """An object, checked against its name; raises `StoreError` when it is missing or damaged."""
        path = self._object(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"the store has no object {sha256[:12]}: {error.strerror}", code="no_object") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            hint = "restore it from a backup, or delete it and create the release again"
            raise StoreError(f"object {path} is damaged", hint=hint, code="damaged")
        return data

    def path(self, sha256: str) -> Path:
        """Where an object lies, unchecked; raises `StoreError` when there is none."""
        path = self._object(sha256)
        if not path.is_file():
            raise StoreError(f"the store has no object {sha256[:12]}", code="no_object")
        return path

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the store against other writers: from choosing a release's counter until it is added."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add(self, release: Release, envelope: Envelope) -> BlobRef:
        """Keep a signed release, and return the reference of its manifest.

        The same again changes nothing; raises `ReleaseError` when the name is taken by another content.
        """
        data = codec.encode(envelope)
        path = self._releases.path(release.name)
        ref = self.put(
            data, _chunk_bytes(release)
        )  # before the name, so that whoever sees the release can fetch its manifest
        try:
            write_new(path, data)
        except FileExistsError:
            if path.read_bytes() != data:
                raise ReleaseError(
                    f"release {release.name} already exists with different content",
                    hint="releases never change: choose a new version",
                    code="exists",
                ) from None
        return ref

    def releases(self) -> list[str]:
        """The names of all releases, by model and then by counter."""
        return sorted(self._releases.names(), key=lambda name: (split_release(name)[0], self.release(name).counter))

    def envelope(self, name: str) -> bytes:
        """The exact bytes of a signed release; raises `ReleaseError` that names the releases there are."""
        raw = self._releases.read(name)
        if raw is None:
            there = ", ".join(self.releases()) or "none yet: run `skerry release create`"
            raise ReleaseError(f"there is no release {name}", hint=f"available: {there}", code="no_release")
        return raw

    def release(self, name: str) -> Release:
        """The manifest of a release; raises `ReleaseError`, or `StoreError` when its file is damaged."""
        return self._releases.payload(name, self.envelope(name), Release)

    def manifest_ref(self, name: str) -> BlobRef:
        """The reference under which a device fetches the signed manifest, in chunks like those of its files."""
        return blobs.describe(self.envelope(name), _chunk_bytes(self.release(name)))

    def blob_refs(self, name: str) -> list[BlobRef]:
        """All that a device may need for a release, each once: the manifest, every artifact, every patch."""
        release = self.release(name)
        artifacts = [artifact.blob for bundle in release.offered for artifact in bundle.artifacts]
        refs = [
            self.manifest_ref(name),
            *artifacts,
            *(patch.blob for patch in (*release.patches, *release.newer_patches)),
        ]
        return list({ref.sha256: ref for ref in refs}.values())

    def files_of(self, slot: SlotReport) -> set[str]:
        """The files of a device's slot, by sha256, as far as its release is known here."""
        targets = (slot.target, slot.beside) if slot.beside is not None else (slot.target,)
        try:
            release = self.release(slot.release)
            artifacts = [artifact for target in targets for artifact in release.bundle(target).artifacts]
        except SkerryError:  # made by another host: only what the device itself names is known
            return {slot.model_sha256}
        return {slot.model_sha256, *(artifact.blob.sha256 for artifact in artifacts)}

    def _object(self, sha256: str) -> Path:
        if not re.match(SHA256_PATTERN, sha256):
            raise StoreError(f"{sha256!r} is not a sha256 in hex", code="no_object")
        return self._objects / sha256[:2] / sha256


def _chunk_bytes(release: Release) -> int:
    every = (artifact.blob.chunk_bytes for bundle in release.offered for artifact in bundle.artifacts)
    return min(every, default=blobs.CHUNK_BYTES)
