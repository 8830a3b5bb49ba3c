"""Runtimes and agents in the release store: signed manifests of wheelhouses, whose tars are objects like all files.

They have names of their own: a model and a runtime may both be called `litert`. A release is never changed.
"""

import hashlib

from skerry_agent.wire import blobs, codec
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.runtimes import Kind, RuntimeManifest
from skerry_host.files import write_new
from skerry_host.release.errors import ReleaseError
from skerry_host.release.store import Store


class RuntimeStore:
    """Those of a store. Reads a manifest anew each time: there are few."""

    __slots__ = ("_files", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files = store.runtimes

    def add(self, manifest: RuntimeManifest, envelope: Envelope) -> BlobRef:
        """Keep a signed manifest, whose tars are there; the reference of it.

        Raises `ReleaseError` when the name is taken by another content.
        """
        data = codec.encode(envelope)
        ref = self.store.put(data, _chunk_bytes(manifest))
        try:
            write_new(self._files.path(manifest.full_name), data)
        except FileExistsError:
            hint = "releases never change: choose a new version"
            raise ReleaseError(f"{manifest.full_name} already exists", hint=hint, code="exists") from None
        return ref

    def names(self, kind: Kind | None = None) -> list[str]:
        """All of them, or those of a kind, by name and then by when they were made."""
        found = map(self.manifest, self._files.names())
        wanted = [each for each in found if kind in {None, each.kind}]
        return [each.full_name for each in sorted(wanted, key=lambda each: (each.name, each.created, each.version))]

    def find(self, name: str) -> RuntimeManifest | None:
        """A manifest; None where there is none of that name. Raises as `manifest`."""
        return self.manifest(name) if self._files.path(name).is_file() else None

    def manifest(self, name: str) -> RuntimeManifest:
        """A manifest; raises `ReleaseError` that names those there are, `StoreError` when its file is damaged."""
        return self._files.payload(name, self.envelope(name), RuntimeManifest)

    def of_kind(self, name: str, kind: Kind) -> RuntimeManifest:
        """The same; raises `ReleaseError` also where it is of another kind."""
        found = self.manifest(name)
        if found.kind != kind:
            hint = f"available: {', '.join(self.names(kind)) or 'none'}"
            raise ReleaseError(f"{name} is a release of kind {found.kind}, not {kind}", hint=hint, code="wrong_kind")
        return found

    def envelope(self, name: str) -> bytes:
        """The exact bytes that were signed. Raises `ReleaseError`, `StoreError`."""
        raw = self._files.read(name)
        if raw is None:
            there = ", ".join(self.names()) or "none yet: run `skerry runtime create`"
            raise ReleaseError(f"there is no runtime {name}", hint=f"available: {there}", code="no_runtime")
        return raw

    def manifest_ref(self, name: str) -> BlobRef:
        """The reference under which a device fetches the signed manifest."""
        return blobs.describe(self.envelope(name), _chunk_bytes(self.manifest(name)))

    def named(self, manifest_sha256: str) -> str | None:
        """The name of the one whose signed manifest has that hash."""
        found = (name for name in self.names() if hashlib.sha256(self.envelope(name)).hexdigest() == manifest_sha256)
        return next(found, None)


def _chunk_bytes(manifest: RuntimeManifest) -> int:
    return min(each.artifact.chunk_bytes for each in manifest.wheelhouses)
