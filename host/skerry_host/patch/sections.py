"""Packs the byte sections that `skerry_agent.patch.section` reads, trying each method that it knows."""

import lzma
from collections.abc import Sequence
from itertools import compress

from skerry_agent.patch.container import pack_varint
from skerry_agent.patch.extents import EMPTY_SECTION
from skerry_agent.patch.section import DICTIONARIES, LITERAL_CODERS, STORED, filters
from skerry_host.patch.preset import encode_with_preset

_EXTREME = {"mode": lzma.MODE_NORMAL, "mf": lzma.MF_BT4, "nice_len": 273, "depth": 200}
_HURRIED = {"mode": lzma.MODE_FAST, "mf": lzma.MF_HC4, "nice_len": 32, "depth": 4}
SAMPLE = 1 << 16  # longer data is tried with each coder on a sample of this many bytes only


def pack_section(data: bytes, preset: bytes = b"", *, hurried: bool = False, lean: bool = False) -> bytes:
    """The smallest section that holds `data`, which may refer back to `preset`; `lean`: with a small dictionary."""
    most = min(DICTIONARIES) if lean else max(DICTIONARIES)
    return min(_candidates(data, preset, most, _HURRIED if hurried else _EXTREME), key=len)


def least_size(data: bytes) -> float:
    """About the least that `data` could pack to, judged by a sample and what a preset might save.

    Weights hardly repeat, so little can be found in them; text and tables have more to give.
    """
    size = estimated_size(data)
    return size * (0.98 if size > 0.6 * len(data) else 0.6)


def estimated_size(data: bytes) -> int:
    """About how many bytes `data` packs to, from a sample and without a preset."""
    sample = _sample(data) if len(data) > SAMPLE else data
    return len(_packed(sample, b"", 1, _EXTREME)) * len(data) // max(1, len(sample))


def gain_of_care(data: bytes) -> float:
    """The most that careful packing of `data` may save over hurried packing, as a share, judged by a sample."""
    sample = _sample(data) if len(data) > SAMPLE else data
    if not sample:
        return 0.0
    hurried, careful = (
        min(map(len, _candidates(sample, b"", max(DICTIONARIES), effort))) for effort in (_HURRIED, _EXTREME)
    )
    return 0.005 + 1.5 * (1 - careful / hurried) if careful < len(sample) else 0.0


def pack_stored(data: bytes) -> bytes:
    """The section that holds `data` as it is."""
    return bytes([STORED]) + pack_varint(len(data)) + data


def leave_out_empty(sections: Sequence[bytes]) -> bytes:
    """The table and the sections after it as version 2 has them: those that hold nothing are left out."""
    table, *others = sections
    present = [section != EMPTY_SECTION for section in others]
    flags = sum(1 << place for place, there in enumerate(present) if there)
    return bytes([flags]) + table + b"".join(compress(others, present))


def _candidates(data: bytes, preset: bytes, most: int, effort: dict[str, int]) -> list[bytes]:
    if not data:
        return [pack_stored(data)]
    reach = len(data) + len(preset)
    dictionary = min(key for key, size in DICTIONARIES.items() if size >= reach or key == most)
    coders: Sequence[int] = range(len(LITERAL_CODERS))
    if len(data) > SAMPLE:
        coders = [min(coders, key=lambda coder: len(_packed(_sample(data), b"", coder << 4 | dictionary, _HURRIED)))]
    return [pack_stored(data), *(_packed(data, preset, coder << 4 | dictionary, effort) for coder in coders)]


def _sample(data: bytes) -> bytes:
    part = SAMPLE // 4
    return b"".join(data[start : start + part] for start in range(0, len(data) - part, (len(data) - part) // 4))


def _packed(data: bytes, preset: bytes, method: int, effort: dict[str, int]) -> bytes:
    chain = [{**link, **effort} for link in filters(method)]
    body = encode_with_preset(data, preset, chain[0]) if preset else lzma.compress(data, lzma.FORMAT_RAW, filters=chain)
    return bytes([method]) + pack_varint(len(data)) + pack_varint(len(body)) + body
