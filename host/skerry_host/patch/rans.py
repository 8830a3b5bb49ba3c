"""The encoder to `skerry_agent.patch.rans`: symbols in decoding order in, states and words out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.container import pack_varint
from skerry_agent.patch.histograms import BITS
from skerry_agent.patch.rans import LOW

Run = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def encode(runs: Sequence[Run], frequencies: NDArray[np.int64], lanes: int) -> bytes:
    """The coded form of `runs`, each (contexts, symbols) of one call of `Decoder.decode`.

    `frequencies` is (contexts, 256), every row summing to 4096. A code runs backwards, so the last run goes first.
    """
    starts = (np.cumsum(frequencies, axis=1) - frequencies).astype(np.uint64).reshape(-1)
    known = frequencies.astype(np.uint64).reshape(-1)
    states = np.full(lanes, LOW, dtype=np.uint64)
    words: list[NDArray[np.uint16]] = []
    for contexts, symbols in reversed(runs):
        keys = contexts.astype(np.intp) << 8 | symbols
        frequency, start = known.take(keys), starts.take(keys)
        for at in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
            part = slice(at, min(at + lanes, len(symbols)))
            _step(states[: part.stop - at], frequency[part], start[part], words)
    stream = np.concatenate([np.zeros(0, np.uint16), *reversed(words)])
    head = pack_varint(lanes) + states.astype("<u4").tobytes() + pack_varint(len(stream))
    return head + stream.astype("<u2").tobytes()


def _step(
    states: NDArray[np.uint64],
    frequency: NDArray[np.uint64],
    start: NDArray[np.uint64],
    words: list[NDArray[np.uint16]],
) -> None:
    full = np.flatnonzero(states >= frequency << np.uint64(32 - BITS))
    if len(full):
        words.append((states[full] & np.uint64(0xFFFF)).astype(np.uint16))
        states[full] >>= np.uint64(16)
    states[:] = ((states // frequency) << np.uint64(BITS)) + states % frequency + start
