"""Byte sections inside a payload: stored, or LZMA2 with a small dictionary, read piece by piece.

A section is the one general-purpose compressor of the format. It may start from a preset dictionary: bytes of the old
file that both sides know. It does not know what its bytes mean.
"""

import lzma
from collections.abc import Sequence
from typing import Final

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.reader import MAX_VARINT, Reader

STORED: Final = 0
# The dictionary bounds what the decoder allocates, whatever a hostile patch claims.
DICTIONARIES: Final = {1: 1 << 16, 2: 1 << 20}
# Bits 4 and 5 choose the literal coder: lc, lp, pb of LZMA.
LITERAL_CODERS: Final = ((3, 0, 0), (0, 2, 2), (4, 0, 0), (3, 0, 2))
_CHUNK: Final = 1 << 16


def filters(method: int) -> list[dict[str, int]]:
    """The LZMA2 filter chain for a section's method byte. Raises `PatchError('damaged')`."""
    dictionary, coder = DICTIONARIES.get(method & 0xF), method >> 4
    if dictionary is None or coder >= len(LITERAL_CODERS):
        raise damaged(f"section method {method} is unknown")
    lc, lp, pb = LITERAL_CODERS[coder]
    return [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}]


class Section:
    """A stream of exactly `size` bytes out of the next part of `reader`, which may refer back to `preset` bytes."""

    def __init__(self, reader: Reader, limit: int = MAX_VARINT, preset: Sequence[memoryview] = ()) -> None:
        method = reader.byte()
        self.left = reader.varint(limit)
        packed = self.left if method == STORED else reader.varint(reader.left)
        self._data = reader.take(packed)
        self._lzma = None
        if method != STORED:
            self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters(method))
            self._teach(self._lzma, preset)

    def read(self, count: int) -> bytes:
        """The next `count` bytes, all of them, or raise `PatchError('damaged')`."""
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
        if self._lzma is not None and not self._ends_here(self._lzma):
            raise damaged("a section is longer than its header says")

    def _teach(self, decoder: lzma.LZMADecompressor, preset: Sequence[memoryview]) -> None:
        # An LZMA2 chunk that is stored, not compressed, enters the dictionary: so old bytes become one here,
        # and cost nothing in the patch. The first such chunk resets the dictionary (1), the others do not (2).
        control = 1
        for piece in preset:
            for start in range(0, len(piece), _CHUNK):
                chunk = bytes(piece[start : start + _CHUNK])
                size = len(chunk)
                decoder.decompress(bytes([control]) + (size - 1).to_bytes(2, "big") + chunk, 0)
                self._skip(decoder, size)
                control = 2

    def _skip(self, decoder: lzma.LZMADecompressor, count: int) -> None:
        while count:
            count -= len(decoder.decompress(b"", count))

    def _inflate(self, decoder: lzma.LZMADecompressor, count: int) -> bytes:
        pieces = []
        try:
            while count:
                piece = decoder.decompress(self._packed(decoder), count)
                if not piece and decoder.needs_input and not self._data:
                    raise damaged("a compressed section ends early")
                pieces.append(piece)
                count -= len(piece)
        except (lzma.LZMAError, EOFError) as error:
            raise damaged(f"a compressed section does not unpack ({error})") from None
        return b"".join(pieces)

    def _packed(self, decoder: lzma.LZMADecompressor) -> memoryview:
        # In pieces, because the decoder copies what it is given and does not use at once.
        size = _CHUNK if decoder.needs_input else 0
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def _ends_here(self, decoder: lzma.LZMADecompressor) -> bool:
        try:
            while self._data or not (decoder.needs_input or decoder.eof):
                if decoder.eof or decoder.decompress(self._packed(decoder), 1):
                    return False
        except (lzma.LZMAError, EOFError) as error:
            raise damaged(f"a compressed section does not end correctly ({error})") from None
        return decoder.eof and not decoder.unused_data
