"""Interleaved static rANS: decodes symbols whose contexts are known in advance, many lanes at a time.

States are 32 bits, words 16, probabilities 12 (J. Duda, "Asymmetric numeral systems", 2013; the interleaving follows
F. Giesen, "Interleaved entropy coders", 2014). It does not know what the symbols mean. The encoder is on the host.
"""

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
_LOW, _LOW_BITS, _SHIFT, _WORD, _SYMBOL = (np.uint32(value) for value in (LOW, TOTAL - 1, BITS, 16, 24))

Contexts = NDArray[np.intp] | NDArray[np.uint8]
"""Numbers of contexts; whoever holds many at a time holds them as bytes."""


def slot_table(codes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Packed slots (contexts * 4096): symbol << 24 | frequency << 12 | offset inside the symbol's range."""
    table = np.empty((len(codes), TOTAL), dtype=np.uint32)
    for row, shape in zip(table, codes, strict=True):
        counts = frequencies(shape)
        present = np.flatnonzero(counts)
        kept = counts[present]
        starts = np.repeat(np.cumsum(kept) - kept, kept)
        packed = np.repeat(present << 24 | kept << BITS, kept)
        row[:] = packed + (np.arange(TOTAL) - starts)
    return table.reshape(-1)


class Decoder:
    """Decodes symbols in the order in which the encoder was given them, in at most `steps` rounds over the lanes."""

    def __init__(self, codes: NDArray[np.uint8], reader: Reader, steps: int) -> None:
        self.contexts = len(codes)
        self._table = slot_table(codes)
        lanes = reader.varint(MAX_LANES)
        if not lanes:
            raise damaged("symbols without lanes")
        self._states = np.frombuffer(reader.take(4 * lanes), dtype="<u4").astype(np.uint32)
        if int(self._states.min()) < LOW:
            raise damaged("a lane starts below its range")
        count = reader.varint(reader.left // 2)
        self._words = np.frombuffer(reader.take(2 * count), dtype="<u2")
        self._at = 0
        self._steps = steps

    def decode(self, contexts: Contexts) -> NDArray[np.uint8]:
        """One symbol for each of `contexts`, a flat array of numbers below `self.contexts`."""
        symbols = np.empty(len(contexts), dtype=np.uint8)
        lanes = len(self._states)
        self._steps -= (len(contexts) + lanes - 1) // lanes
        if self._steps < 0:
            raise damaged("it takes more steps than its result can need")
        span = max(1, SPAN // lanes) * lanes
        for start in range(0, len(contexts), span):
            symbols[start : start + span] = self._rounds(contexts[start : start + span].astype(np.intp) << BITS)
        return symbols

    def _rounds(self, slots: NDArray[np.intp]) -> NDArray[np.uint32]:
        found = np.empty(len(slots), dtype=np.uint32)
        lanes = len(self._states)
        for start in range(0, len(slots), lanes):
            part = slots[start : start + lanes]
            self._step(part, self._states[: len(part)], found[start : start + lanes])
        return found >> _SYMBOL

    def finish(self) -> None:
        """Raise `PatchError('damaged')` unless all words were used and every lane is back where encoding began."""
        if self._at != len(self._words) or bool(np.any(self._states != LOW)):
            raise damaged("coded symbols end in a wrong state")

    def _step(self, slots: NDArray[np.intp], states: NDArray[np.uint32], found: NDArray[np.uint32]) -> None:
        slots += states & _LOW_BITS
        self._table.take(slots, out=found, mode="clip")
        states >>= _SHIFT
        states *= (found >> _SHIFT) & _LOW_BITS
        states += found & _LOW_BITS
        short = (states < _LOW).nonzero()[0]
        end = self._at + len(short)
        if end > len(self._words):
            raise damaged("coded symbols end early")
        states[short] = states[short] << _WORD | self._words[self._at : end]
        self._at = end
