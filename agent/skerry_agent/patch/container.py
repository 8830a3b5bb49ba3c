"""The outer format of a patch: which bytes it starts from, which it makes, and by which codec.

Layout in docs/patch-format.md. It does not decode a payload.
"""

from dataclasses import dataclass
from typing import Final, Literal

from skerry_agent.patch.errors import PatchError
from skerry_agent.patch.reader import Reader
from skerry_agent.wire.manifest import PATCH_FORMAT

Codec = Literal["full", "zstd", "bsdiff", "model", "typed"]

MAGIC: Final = b"SKP"
FORMAT_VERSION: Final = PATCH_FORMAT
CODECS: Final[tuple[Codec, ...]] = ("full", "zstd", "bsdiff", "model", "typed")
FIRST_CODECS: Final = CODECS[:4]
"""The codecs of version 1."""
DIGEST_BYTES: Final = {1: 32, 2: 8}
"""How much of each SHA-256 a header holds, by format version: the manifest names both in full."""


@dataclass(frozen=True, slots=True)
class PatchHeader:
    """What a patch says of itself: sizes in bytes, digests as lower-case hexadecimal SHA-256.

    As read from a patch of version 2 the digests are only the first 8 bytes of each.
    """

    format_version: int
    old_sha256: str
    new_sha256: str
    old_size: int
    new_size: int
    codec: Codec


def pack_header(header: PatchHeader) -> bytes:
    """The bytes that open a patch."""
    kept = DIGEST_BYTES[header.format_version]
    digests = (bytes.fromhex(digest)[:kept] for digest in (header.old_sha256, header.new_sha256))
    opening = MAGIC + bytes([header.format_version, CODECS.index(header.codec)]) + b"".join(digests)
    return opening + pack_varint(header.old_size) + pack_varint(header.new_size)


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
    reader = Reader(view[len(MAGIC) :])
    version, codec = reader.byte(), reader.byte()
    if version not in DIGEST_BYTES:
        known = " and ".join(map(str, DIGEST_BYTES))
        raise PatchError("format_version", f"patch has format version {version}, this decoder knows {known}")
    if codec >= len(FIRST_CODECS if version == 1 else CODECS):
        raise PatchError("format_version", f"patch uses codec {codec}, which this decoder does not know")
    old_digest, new_digest = (reader.take(DIGEST_BYTES[version]).hex() for _ in range(2))
    old_size, new_size = reader.varint(), reader.varint()
    return PatchHeader(version, old_digest, new_digest, old_size, new_size, CODECS[codec]), reader
