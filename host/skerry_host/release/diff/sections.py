"""Packs the byte sections that `skerry_agent.patch.section` reads, trying each method it knows."""

from __future__ import annotations

import lzma

from skerry_agent.patch.container import pack_varint
from skerry_agent.patch.section import DICTIONARIES, LITERAL_CODERS, STORED, filters

_EXTREME = {"mode": lzma.MODE_NORMAL, "mf": lzma.MF_BT4, "nice_len": 273, "depth": 1000}


def pack_section(data: bytes) -> bytes:
    """Return the smallest section that holds `data`."""
    return min(_candidates(data), key=len)


def _candidates(data: bytes) -> list[bytes]:
    stored = bytes([STORED]) + pack_varint(len(data)) + data
    if not data:
        return [stored]
    dictionary = min((key for key, size in DICTIONARIES.items() if size >= len(data)), default=max(DICTIONARIES))
    return [stored, *(_packed(data, coder << 4 | dictionary) for coder in range(len(LITERAL_CODERS)))]


def _packed(data: bytes, method: int) -> bytes:
    chain = [{**link, **_EXTREME} for link in filters(method)]
    body = lzma.compress(data, lzma.FORMAT_RAW, filters=chain)
    return bytes([method]) + pack_varint(len(data)) + pack_varint(len(body)) + body
