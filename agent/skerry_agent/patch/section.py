"""Byte sections inside a payload: stored, or LZMA2 with a small dictionary, read piece by piece.

A section is the one general-purpose compressor of the format. It does not know what its bytes mean.
"""

from __future__ import annotations

import lzma
from typing import Final

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.reader import MAX_VARINT, Reader

STORED: Final = 0
# The dictionary bounds what the decoder allocates, whatever a hostile patch claims.
DICTIONARIES: Final = {1: 1 << 16, 2: 1 << 20}
# Bit 4 and 5 choose the literal coder: bytes as such, or bytes that depend on their place modulo 4.
LITERAL_CODERS: Final = ({"lc": 3, "lp": 0, "pb": 0}, {"lc": 0, "lp": 2, "pb": 2}, {"lc": 4, "lp": 0, "pb": 0})


def filters(method: int) -> list[dict[str, int]]:
    """Return the LZMA2 filter chain for a section's method byte. Raises `PatchError('damaged')`."""
    dictionary, coder = DICTIONARIES.get(method & 0xF), method >> 4
    if dictionary is None or coder >= len(LITERAL_CODERS):
        raise damaged(f"section method {method} is unknown")
    return [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary, **LITERAL_CODERS[coder]}]


class Section:
    """A stream of exactly `size` bytes out of the next part of `reader`."""

    def __init__(self, reader: Reader, limit: int = MAX_VARINT) -> None:
        method = reader.byte()
        self.left = reader.varint(limit)
        packed = self.left if method == STORED else reader.varint(reader.left)
        self._data = reader.take(packed)
        self._lzma = None if method == STORED else lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters(method))

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, all of them, or raise `PatchError('damaged')`."""
        if count > self.left:
            raise damaged(f"{count} bytes wanted from a section with {self.left} left")
        self.left -= count
        if self._lzma is None:
            piece, self._data = bytes(self._data[:count]), self._data[count:]
            return piece
        return self._inflate(self._lzma, count)

    def finish(self) -> None:
        """Raise `PatchError('damaged')` if bytes were left unread or the compressed stream did not end."""
        if self.left:
            raise damaged(f"{self.left} bytes of a section were never used")
        if self._lzma is not None and (self._inflate_tail(self._lzma) or self._lzma.unused_data):
            raise damaged("a section is longer than it says")

    def _inflate(self, decoder: lzma.LZMADecompressor, count: int) -> bytes:
        pieces = []
        try:
            while count:
                piece = decoder.decompress(self._data, count)
                self._data = memoryview(b"")
                if not piece:
                    raise damaged("a compressed section ends early")
                pieces.append(piece)
                count -= len(piece)
        except (lzma.LZMAError, EOFError) as error:
            raise damaged(f"a compressed section does not unpack ({error})") from None
        return b"".join(pieces)

    def _inflate_tail(self, decoder: lzma.LZMADecompressor) -> bytes:
        if decoder.eof:
            return b""
        try:
            return decoder.decompress(self._data, 1)
        except (lzma.LZMAError, EOFError) as error:
            raise damaged(f"a compressed section does not end well ({error})") from None
