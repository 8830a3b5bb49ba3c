"""Bytes, small signed integers and 32-bit numbers out of a patch's coded symbols. It does not choose contexts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import ESCAPE
from skerry_agent.patch.rans import Contexts, Decoder
from skerry_agent.patch.section import Section

MAX_CLASS: Final = 32
MAX_NUMBERS: Final = 1 << 14  # whose symbols are one run
_PIECE: Final = 1 << 12  # numbers that are made at a time, to bound memory


def unzigzag(symbols: NDArray[np.uint8]) -> NDArray[np.int16]:
    """0, -1, 1, -2, ... for symbols 0, 1, 2, 3, ..."""
    wide = symbols.astype(np.int16)
    return (wide >> 1) ^ -(wide & 1)


class Symbols:
    """Reads from the three streams that carry symbols: coded, escaped bytes and raw bits."""

    def __init__(self, decoder: Decoder | None, escapes: Section, bits: Section) -> None:
        self._decoder = decoder
        self._escapes = escapes
        self._bits = bits
        self._byte, self._bit = b"", 0  # the byte that the last number ended in, and how many of its bits are used
        self.contexts = decoder.contexts if decoder else 0

    def read(self, contexts: Contexts) -> NDArray[np.uint8]:
        """One symbol for each of `contexts`; symbol 255 stands for a byte in the escape stream."""
        if self._decoder is None:
            raise damaged("symbols are used but none are coded")
        symbols = self._decoder.decode(contexts)
        escaped = np.flatnonzero(symbols == ESCAPE)
        if len(escaped):
            symbols[escaped] = np.frombuffer(self._escapes.read(len(escaped)), dtype=np.uint8)
        return symbols

    def small(self, count: int, context: int) -> NDArray[np.int16]:
        """`count` integers from -128 to 127, all coded in `context`."""
        return unzigzag(self._run(count, context))

    def numbers(self, count: int, context: int) -> NDArray[np.uint32]:
        """`count` numbers in two's complement: symbol `class << 2 | second bit << 1 | sign`, then low bits."""
        numbers = np.empty(count, dtype=np.uint32)
        for first in range(0, count, MAX_NUMBERS):
            symbols = self._run(min(MAX_NUMBERS, count - first), context)
            for at in range(0, len(symbols), _PIECE):
                made = self._numbers(symbols[at : at + _PIECE].astype(np.int64))
                numbers[first + at : first + at + len(made)] = made
        return numbers

    def _run(self, count: int, context: int) -> NDArray[np.uint8]:
        return self.read(np.full(count, context, dtype=np.uint8))

    def _numbers(self, symbols: NDArray[np.int64]) -> NDArray[np.uint32]:
        klass, second = symbols >> 2, (symbols >> 1) & 1
        if int(klass.max()) > MAX_CLASS:
            raise damaged("a number is too large")
        low = np.maximum(klass - 2, 0)
        size = np.where(klass > 1, ((2 | second) << low) | self.raw(low), klass)
        return np.where(symbols & 1, -size, size).astype(np.uint32)

    def finish(self) -> None:
        """Raise `PatchError('damaged')` unless all three streams end here."""
        self._escapes.finish()
        self._bits.finish()
        if self._decoder is not None:
            self._decoder.finish()

    def raw(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next values of so many bits each, at most 30, most significant bit first."""
        ends = np.cumsum(lengths) + self._bit
        total = int(ends[-1]) if len(ends) else self._bit
        window = self._byte + self._bits.read(max(0, (total + 7) // 8 - len(self._byte)))
        padded = np.frombuffer(window + bytes(8), dtype=np.uint8)
        starts = ends - lengths
        first = starts >> 3
        word = np.zeros(len(lengths), dtype=np.int64)
        for place in range(5):
            word = word << 8 | padded[first + place]
        self._bit, self._byte = total & 7, window[total >> 3 :]
        return (word >> (40 - (starts & 7) - lengths)) & ((1 << lengths) - 1)
