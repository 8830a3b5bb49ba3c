"""Blobs on disk: complete ones named by their sha256, and partial ones that survive a kill.

A part is a file that chunks are written into at their offsets, and a bitmap beside it. The bitmap is only a hint: its
claims are checked against the digests when the part is opened again, so no fsync per chunk is needed.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from skerry_agent.state.disk import DiskError, make_folder, sha256_of, sync_folder, write_atomic
from skerry_agent.wire.blobs import BlobRef, parse_digests
from skerry_agent.wire.errors import WireError

RESERVE_BYTES = 4 * 1024 * 1024
"""Disk space that no download may use: it is for the journal and the outbox."""


class Part:
    """A blob that is being fetched."""

    def __init__(self, ref: BlobRef, digests: tuple[bytes, ...], data: Path, bitmap: Path) -> None:
        self.ref = ref
        self._digests = digests
        self._data_path, self._bitmap_path = data, bitmap
        self._data = self._bitmap = -1
        try:
            self._data = _open_sized(data, ref.size)
            self._bitmap = _open_sized(bitmap, -(-ref.chunks // 8))
            # An empty message clears a topic, so an empty blob cannot be published: there is nothing to fetch.
            self.missing = [i for i in range(ref.chunks if ref.size else 0) if not self._holds(i)]
        except OSError:
            self.close()
            raise

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
        open_files = [descriptor for descriptor in (self._data, self._bitmap) if descriptor >= 0]
        self._data = self._bitmap = -1
        for descriptor in open_files:
            with contextlib.suppress(OSError):  # what matters was synced, and its hash is checked by name
                os.close(descriptor)


class BlobStore:
    """The folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with contextlib.suppress(OSError):  # a disk that takes nothing: it is made when there is something to keep
            make_folder(folder)

    def path(self, sha256: str) -> Path:
        """Where a complete blob lies."""
        return self.folder / sha256

    def has(self, ref: BlobRef) -> bool:
        """Whether the blob is complete."""
        try:
            return self.path(ref.sha256).stat().st_size == ref.size
        except OSError:
            return False

    def keep(self, sha256: str, raw: bytes) -> None:
        """Keep a whole blob that came at once. Raises `OSError`."""
        make_folder(self.folder)
        write_atomic(self.path(sha256), raw)

    def keep_digests(self, sha256: str, raw: bytes) -> None:
        """Keep a digest list for a restart."""
        make_folder(self.folder)
        write_atomic(self.folder / f"{sha256}.digests", raw)

    def digests(self, ref: BlobRef) -> tuple[bytes, ...] | None:
        """The digests kept for a blob, unless they are not there, not readable or not those that it names."""
        try:
            return parse_digests(ref, (self.folder / f"{ref.sha256}.digests").read_bytes())
        except (OSError, WireError):
            return None

    def open_part(self, ref: BlobRef, digests: tuple[bytes, ...]) -> Part:
        """Open a part, resuming what is there. Raises `DiskError` when the disk has no room for it."""
        make_folder(self.folder)
        data = self.folder / f"{ref.sha256}.part"
        have = data.stat().st_blocks * 512 if data.exists() else 0
        free = shutil.disk_usage(self.folder).free
        if ref.size - have + RESERVE_BYTES > free:
            message = f"{ref.size} B do not fit: {free} B are free, {RESERVE_BYTES} B of them are reserved"
            raise DiskError(message, hint="free some space on the device", code="disk_full")
        return Part(ref, digests, data, self.folder / f"{ref.sha256}.bitmap")

    def collect(self, keep: Iterable[str]) -> None:
        """Remove every blob and part whose sha256 is not in `keep`, as far as the disk allows."""
        kept = set(keep)
        with contextlib.suppress(OSError):  # what is left is removed the next time
            for path in list(self.folder.iterdir()):
                if path.name.removeprefix(".").split(".")[0] not in kept:
                    path.unlink(missing_ok=True)


def _open_sized(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
