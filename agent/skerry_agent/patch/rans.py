"""Interleaved static rANS: decodes symbols whose contexts are known in advance, many lanes at a time.

States are 32 bits, words 16, probabilities 12 (J. Duda, "Asymmetric numeral systems", 2013; the interleaving follows
F. Giesen, "Interleaved entropy coders", 2014). It does not know what the symbols mean. The encoder is on the host.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import BITS, TOTAL, frequencies
from skerry_agent.patch.reader import Reader

LOW: Final = 1 << 16
MAX_LANES: Final = 1024
SPAN: Final = 1 << 13  # symbols whose slots are held at a time, to bound memory
# Of the states' own type, because mixing in Python integers costs more than the arithmetic.
_LOW, _LOW_BITS, _SHIFT, _WORD = (np.uint32(value) for value in (LOW, TOTAL - 1, BITS, 16))

Contexts = NDArray[np.intp] | NDArray[np.uint8]
"""Numbers of contexts; whoever holds many at a time holds them as bytes."""


def slot_tables(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """The symbol of each slot (contexts * 4096), and of each symbol (contexts * 256) frequency << 12 | first slot.

    Two tables, because one with all of it in each slot takes four times the memory and misses small caches.
    """
    symbols = np.empty((len(codes), TOTAL), dtype=np.uint8)
    ranges = np.empty((len(codes), 256), dtype=np.uint32)
    for row, shape in enumerate(codes):
        counts = frequencies(shape)
        symbols[row] = np.repeat(np.arange(256), counts)
        ranges[row] = counts << BITS | np.minimum(np.cumsum(counts) - counts, TOTAL - 1)
    return symbols.reshape(-1), ranges.reshape(-1)


@dataclass(slots=True)
class Rounds:
    """How many rounds over the lanes the decoders of one patch may still take: bounds the time."""

    left: int


class Decoder:
    """Decodes symbols in the order in which the encoder was given them, in the `rounds` that are left."""

    def __init__(self, codes: NDArray[np.uint8], reader: Reader, rounds: Rounds) -> None:
        self.contexts = len(codes)
        self._symbols, self._ranges = slot_tables(codes)
        lanes = reader.varint(MAX_LANES)
        if not lanes:
            raise damaged("symbols without lanes")
        self._states = np.frombuffer(reader.take(4 * lanes), dtype="<u4").astype(np.uint32)
        if int(self._states.min()) < LOW:
            raise damaged("a lane starts below its range")
        count = reader.varint(reader.left // 2)
        self._words = np.frombuffer(reader.take(2 * count), dtype="<u2")
        self._at = 0
        self._rounds = rounds

    def decode(self, contexts: Contexts) -> NDArray[np.uint8]:
        """One symbol for each of `contexts`, a flat array of numbers below `self.contexts`."""
        symbols = np.empty(len(contexts), dtype=np.uint8)
        lanes = len(self._states)
        self._rounds.left -= (len(contexts) + lanes - 1) // lanes
        if self._rounds.left < 0:
            raise damaged("it takes more steps than its result can need")
        span = max(1, SPAN // lanes) * lanes
        for start in range(0, len(contexts), span):
            part = contexts[start : start + span].astype(np.intp)
            self._decode(part << BITS, part << 8, symbols[start : start + span])
        return symbols

    def _decode(self, slots: NDArray[np.intp], rows: NDArray[np.intp], found: NDArray[np.uint8]) -> None:
        lanes = len(self._states)
        for start in range(0, len(slots), lanes):
            part = slice(start, start + lanes)
            self._step(slots[part], rows[part], found[part])

    def finish(self) -> None:
        """Raise `PatchError('damaged')` unless all words were used and every lane is back where encoding began."""
        if self._at != len(self._words) or bool(np.any(self._states != LOW)):
            raise damaged("coded symbols end in a wrong state")

    def _step(self, slots: NDArray[np.intp], rows: NDArray[np.intp], found: NDArray[np.uint8]) -> None:
        states = self._states[: len(slots)]
        places = states & _LOW_BITS
        slots += places
        self._symbols.take(slots, out=found, mode="clip")
        rows += found
        ranges = self._ranges.take(rows, mode="clip")
        places -= ranges & _LOW_BITS
        states >>= _SHIFT
        states *= ranges >> _SHIFT
        states += places
        short = (states < _LOW).nonzero()[0]
        end = self._at + len(short)
        if end > len(self._words):
            raise damaged("coded symbols end early")
        states[short] = states[short] << _WORD | self._words[self._at : end]
        self._at = end
