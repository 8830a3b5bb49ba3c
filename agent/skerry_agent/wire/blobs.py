"""How a file is cut into chunks and how each chunk is checked. Pure: bytes in, bytes out.

A blob is addressed by its sha256. It travels as chunks of `chunk_bytes`, each a retained message of its own. The
digests of all chunks (32 raw bytes each, in order) form the blob's *digest list*, itself one retained message, whose
sha256 stands in the signed `BlobRef`: so every chunk can be checked on arrival, before it is written. A blob of one
chunk needs no digest list: its own hash is the chunk's.
"""

import hashlib
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.names import Sha256

CHUNK_BYTES = 64 * 1024
MAX_CHUNKS = 4096
MAX_BLOB_BYTES = 256 * 1024 * 1024


class BlobSizeError(SkerryError):
    """A file is larger than what devices fetch: no release can hold it."""

    code = "too_large"
    exit_code = 2

    def __init__(self, what: str, size: int) -> None:
        super().__init__(
            f"{what} has {size:,} bytes, and devices accept files of at most {MAX_BLOB_BYTES:,} (256 MiB)",
            hint="make the model smaller, or split it in two models",
        )


def check_size(what: str, size: int) -> None:
    """Raise `BlobSizeError` if devices accept no file of `size` bytes."""
    if size > MAX_BLOB_BYTES:
        raise BlobSizeError(what, size)


class BlobRef(Struct, frozen=True):
    """What a device needs to fetch a blob and to check every part of it. Sizes in bytes."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=0, le=MAX_BLOB_BYTES)]
    chunk_bytes: Annotated[int, Meta(ge=1024, le=1024 * 1024)] = CHUNK_BYTES
    digests_sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if self.chunks > MAX_CHUNKS:
            raise ValueError(f"{self.chunks} chunks are over the limit of {MAX_CHUNKS}")

    @property
    def chunks(self) -> int:
        """How many chunks the blob has; an empty blob has one empty chunk."""
        return max(1, -(-self.size // self.chunk_bytes))

    @property
    def largest_message(self) -> int:
        """Bytes of the largest message that brings any part of it: a chunk, or the digest list."""
        return max(min(self.size, self.chunk_bytes), 32 * self.chunks if self.digests_sha256 else 0)

    def chunk_size(self, index: int) -> int:
        """Length in bytes of chunk `index`."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)


def describe(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> BlobRef:
    """The reference of a blob. Raises `BlobSizeError`."""
    check_size("the file", len(data))
    ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data), chunk_bytes)
    if ref.chunks == 1:
        return ref
    digests = hashlib.sha256(digest_list(data, chunk_bytes)).hexdigest()
    return BlobRef(ref.sha256, ref.size, chunk_bytes, digests)


def split(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The chunks of a blob in order; an empty blob yields one empty chunk."""
    view = memoryview(data)
    for start in range(0, max(1, len(data)), chunk_bytes):
        yield bytes(view[start : start + chunk_bytes])


def digest_list(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> bytes:
    """32 raw bytes of sha256 for each chunk, in order."""
    return b"".join(hashlib.sha256(chunk).digest() for chunk in split(data, chunk_bytes))


def parse_digests(ref: BlobRef, raw: bytes) -> tuple[bytes, ...]:
    """The digests of each chunk from a received digest list.

    Raises `WireError` when the list is not the one that the reference names.
    """
    if hashlib.sha256(raw).hexdigest() != ref.digests_sha256 or len(raw) != 32 * ref.chunks:
        raise WireError("digest list", [f"not the list of blob {ref.sha256[:12]}"], code="digest_mismatch")
    return tuple(raw[i : i + 32] for i in range(0, len(raw), 32))


def sole_digest(ref: BlobRef) -> tuple[bytes, ...]:
    """The digests of a blob of one chunk: its own hash."""
    return (bytes.fromhex(ref.sha256),)
