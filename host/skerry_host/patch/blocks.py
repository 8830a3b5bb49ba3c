"""Encodes the generic candidates `full` and `zstd`. It does not look at what the files are."""

import zstandard

from skerry_agent.patch.blocks import MAX_BLOCK, MAX_DICTIONARY
from skerry_agent.patch.container import pack_varint
from skerry_host.patch.sections import pack_section


def encode_full(new: bytes, *, hurried: bool) -> bytes:
    """The payload that holds all of `new`, packed with less effort if `hurried`."""
    return pack_section(new, hurried=hurried)


def encode_zstd(old: bytes, new: bytes, *, hurried: bool) -> bytes:
    """The payload of blocks of `new`, each against the slice of `old` around the same place."""
    return b"".join(_block(old, new, start, 3 if hurried else 19) for start in range(0, len(new), MAX_BLOCK))


def _block(old: bytes, new: bytes, start: int, level: int) -> bytes:
    block = new[start : start + MAX_BLOCK]
    # Files of two releases are laid out alike, so the best dictionary lies at the same relative place.
    centre = (start + len(block) // 2) * len(old) // max(1, len(new))
    first = max(0, min(len(old) - MAX_DICTIONARY, centre - MAX_DICTIONARY // 2))
    dictionary = old[first : first + MAX_DICTIONARY]
    frame = _compressor(dictionary, len(block), level).compress(block)
    fields = (first, len(dictionary), len(block), len(frame))
    return b"".join(map(pack_varint, fields)) + frame


def _compressor(dictionary: bytes, size: int, level: int) -> zstandard.ZstdCompressor:
    window = max(10, min(20, (size - 1).bit_length()))
    settings = zstandard.ZstdCompressionParameters.from_level(
        level,
        window_log=window,
        enable_ldm=False,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        source_size=size,
        dict_size=len(dictionary),
    )
    base = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(compression_params=settings, dict_data=base if dictionary else None)
