"""Blobs on disk: complete ones named by their sha256, and parts of others that survive a kill.

A part is a file that chunks are written into at their offsets, and a bitmap beside it. The bitmap is only a hint: what
it claims is checked against the digests when the part is opened again, so no fsync per chunk is needed.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from skerry_agent.disk import DiskError, sha256_of, sync_folder, write_atomic
from skerry_agent.wire.blobs import BlobRef

RESERVE_BYTES = 4 * 1024 * 1024
"""Left free for the journal and the outbox whatever is fetched."""


class Part:
    """A blob that is being fetched."""

    def __init__(self, ref: BlobRef, digests: tuple[bytes, ...], data: Path, bitmap: Path) -> None:
        self.ref = ref
        self._digests = digests
        self._data_path, self._bitmap_path = data, bitmap
        self._data = _open_sized(data, ref.size)
        self._bitmap = _open_sized(bitmap, -(-ref.chunks // 8))
        # An empty message clears a topic, so an empty blob cannot be published: there is nothing to fetch.
        self.missing = [i for i in range(ref.chunks if ref.size else 0) if not self._holds(i)]

    def _holds(self, index: int) -> bool:
        claimed = os.pread(self._bitmap, 1, index // 8)[0] >> (index % 8) & 1
        if not claimed:
            return False
        chunk = os.pread(self._data, self.ref.chunk_size(index), index * self.ref.chunk_bytes)
        return hashlib.sha256(chunk).digest() == self._digests[index]

    def fits(self, index: int, chunk: bytes) -> bool:
        """Whether `chunk` is what belongs at `index`."""
        return hashlib.sha256(chunk).digest() == self._digests[index]

    def write(self, index: int, chunk: bytes) -> None:
        """Write a chunk that fits. Raises `OSError`."""
        os.pwrite(self._data, chunk, index * self.ref.chunk_bytes)
        byte = os.pread(self._bitmap, 1, index // 8)[0] | 1 << (index % 8)
        os.pwrite(self._bitmap, bytes([byte]), index // 8)
        self.missing.remove(index)

    def finish(self, final: Path) -> None:
        """Make a complete part a blob. Raises `DiskError` when the whole is not what its chunks promised."""
        os.fsync(self._data)
        self.close()
        if sha256_of(self._data_path) != self.ref.sha256:
            self.discard()
            raise DiskError(f"blob {self.ref.sha256[:12]} does not have its hash", code="hash_mismatch")
        self._data_path.replace(final)
        sync_folder(final.parent)
        self._bitmap_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget it."""
        self._data_path.unlink(missing_ok=True)
        self._bitmap_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what was written stays for the next `open`."""
        for descriptor in (self._data, self._bitmap):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._bitmap = -1


class BlobStore:
    """The folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where a complete blob lies."""
        return self.folder / sha256

    def has(self, ref: BlobRef) -> bool:
        """Whether the blob is complete."""
        path = self.path(ref.sha256)
        return path.exists() and path.stat().st_size == ref.size

    def keep_digests(self, sha256: str, raw: bytes) -> None:
        """Keep a digest list for a restart."""
        write_atomic(self.folder / f"{sha256}.digests", raw)

    def digests(self, sha256: str) -> bytes | None:
        """The digest list kept for a blob."""
        path = self.folder / f"{sha256}.digests"
        return path.read_bytes() if path.exists() else None

    def open_part(self, ref: BlobRef, digests: tuple[bytes, ...]) -> Part:
        """Open a part, resuming what is there. Raises `DiskError` when the disk has no room for it."""
        data = self.folder / f"{ref.sha256}.part"
        have = data.stat().st_blocks * 512 if data.exists() else 0
        free = shutil.disk_usage(self.folder).free
        if ref.size - have + RESERVE_BYTES > free:
            message = f"{ref.size} B do not fit: {free} B are free, {RESERVE_BYTES} B of them are reserved"
            raise DiskError(message, hint="free some space on the device", code="disk_full")
        return Part(ref, digests, data, self.folder / f"{ref.sha256}.bitmap")

    def collect(self, keep: Iterable[str]) -> None:
        """Remove every blob and part whose sha256 is not in `keep`."""
        kept = set(keep)
        for path in self.folder.iterdir():
            if path.name.split(".")[0] not in kept:
                path.unlink(missing_ok=True)


def _open_sized(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(descriptor, size)
    return descriptor
