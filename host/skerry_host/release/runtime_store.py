"""Runtimes and agents in the release store: signed manifests of wheelhouses, whose tars are objects like all files.

They have names of their own: a model and a runtime may both be called `litert`. A release is never changed.
"""

import hashlib
import re
from pathlib import Path

from skerry_agent.wire import blobs, codec
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import MODEL_PATTERN, VERSION_PATTERN, split_release
from skerry_agent.wire.runtimes import Kind, RuntimeManifest
from skerry_host.files import write_new
from skerry_host.release.errors import ReleaseError, StoreError
from skerry_host.release.store import Store


class RuntimeStore:
    """Those of a store. Reads a manifest anew each time: there are few."""

    __slots__ = ("_folder", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self._folder = store.runtimes

    def add(self, manifest: RuntimeManifest, envelope: Envelope) -> BlobRef:
        """Keep a signed manifest, whose tars are there; the reference of it.

        Raises `ReleaseError` when the name is taken by another content.
        """
        data = codec.encode(envelope)
        ref = self.store.put(data, _chunk_bytes(manifest))
        try:
            write_new(self._file(manifest.full_name), data)
        except FileExistsError:
            hint = "releases never change: choose a new version"
            raise ReleaseError(f"{manifest.full_name} already exists", hint=hint, code="exists") from None
        return ref

    def names(self, kind: Kind | None = None) -> list[str]:
        """All of them, or those of a kind, by name and then by when they were made."""
        found = [
            self.manifest(f"{path.parent.name}@{path.name.removesuffix('.json')}")
            for path in self._folder.glob("*/*.json")
            if re.match(MODEL_PATTERN, path.parent.name) and re.match(VERSION_PATTERN, path.name.removesuffix(".json"))
        ]
        wanted = [each for each in found if kind in {None, each.kind}]
        return [each.full_name for each in sorted(wanted, key=lambda each: (each.name, each.created, each.version))]

    def find(self, name: str) -> RuntimeManifest | None:
        """A manifest; None where there is none of that name. Raises as `manifest`."""
        return self.manifest(name) if self._file(name).is_file() else None

    def manifest(self, name: str) -> RuntimeManifest:
        """A manifest; raises `ReleaseError` that names those there are, `StoreError` when its file is damaged."""
        raw = self.envelope(name)
        try:
            return codec.decode(codec.decode(raw, Envelope).payload, RuntimeManifest)
        except WireError as error:
            raise StoreError(f"{self._file(name)} is damaged: {error.message}", code="damaged") from None

    def of_kind(self, name: str, kind: Kind) -> RuntimeManifest:
        """The same; raises `ReleaseError` also where it is of another kind."""
        found = self.manifest(name)
        if found.kind != kind:
            hint = f"available: {', '.join(self.names(kind)) or 'none'}"
            raise ReleaseError(f"{name} is a release of kind {found.kind}, not {kind}", hint=hint, code="wrong_kind")
        return found

    def envelope(self, name: str) -> bytes:
        """The exact bytes that were signed. Raises `ReleaseError`, `StoreError`."""
        path = self._file(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            there = ", ".join(self.names()) or "none yet: run `skerry runtime create`"
            raise ReleaseError(f"there is no runtime {name}", hint=f"available: {there}", code="no_runtime") from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from None

    def manifest_ref(self, name: str) -> BlobRef:
        """The reference under which a device fetches the signed manifest."""
        return blobs.describe(self.envelope(name), _chunk_bytes(self.manifest(name)))

    def named(self, manifest_sha256: str) -> str | None:
        """The name of the one whose signed manifest has that hash."""
        found = (name for name in self.names() if hashlib.sha256(self.envelope(name)).hexdigest() == manifest_sha256)
        return next(found, None)

    def _file(self, name: str) -> Path:
        try:
            folder, version = split_release(name)
        except WireError as error:
            raise ReleaseError(error.message, code=error.code) from None
        return self._folder / folder / f"{version}.json"


def _chunk_bytes(manifest: RuntimeManifest) -> int:
    return min(each.artifact.chunk_bytes for each in manifest.wheelhouses)
