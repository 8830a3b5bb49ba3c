"""The outer format of a patch: which bytes it starts from, which it makes, and by which codec.

Layout in docs/patch-format.md. It does not decode a payload.
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal, cast

from skerry_agent.patch.errors import PatchError
from skerry_agent.patch.reader import Reader

Codec = Literal["full", "zstd", "bsdiff", "model"]

MAGIC: Final = b"SKP"
FORMAT_VERSION: Final = 1
CODECS: Final[tuple[Codec, ...]] = ("full", "zstd", "bsdiff", "model")
_FIXED: Final = struct.Struct("<3sBB32s32s")


@dataclass(frozen=True, slots=True)
class PatchHeader:
    """What a patch says of itself: sizes in bytes, digests as lower-case hexadecimal SHA-256."""

    format_version: int
    old_sha256: str
    new_sha256: str
    old_size: int
    new_size: int
    codec: Codec


def pack_header(header: PatchHeader) -> bytes:
    """The bytes that open a patch."""
    fixed = _FIXED.pack(
        MAGIC,
        header.format_version,
        CODECS.index(header.codec),
        bytes.fromhex(header.old_sha256),
        bytes.fromhex(header.new_sha256),
    )
    return fixed + pack_varint(header.old_size) + pack_varint(header.new_size)


def pack_varint(value: int) -> bytes:
    """`value`, at least 0, as a little-endian base-128 integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_header(patch: bytes | memoryview) -> PatchHeader:
    """The header of `patch`. Raises `PatchError` of code not_a_patch, format_version or damaged."""
    return split(patch)[0]


def split(patch: bytes | memoryview) -> tuple[PatchHeader, Reader]:
    """The header of `patch` and a reader that stands at its payload."""
    view = memoryview(patch)
    if bytes(view[:3]) != MAGIC:
        raise PatchError("not_a_patch", "this is not a Skerry patch")
    if len(view) > 3 and view[3] != FORMAT_VERSION:
        raise PatchError("format_version", f"patch has format version {view[3]}, this decoder knows {FORMAT_VERSION}")
    reader = Reader(view)
    _, version, codec, old_digest, new_digest = _FIXED.unpack(reader.take(_FIXED.size))
    if codec >= len(CODECS):
        raise PatchError("format_version", f"patch uses codec {codec}, which this decoder does not know")
    name = cast("Codec", CODECS[codec])
    old_size, new_size = reader.varint(), reader.varint()
    return PatchHeader(version, old_digest.hex(), new_digest.hex(), old_size, new_size, name), reader
