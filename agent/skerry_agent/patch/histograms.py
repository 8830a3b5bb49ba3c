"""Turns the coded shapes of a patch's contexts into frequencies that sum to 4096. It does not decode symbols.

A shape is one byte a symbol: 0 for absent, else an eighth-octave logarithm of its weight. All arithmetic is on
integers, so encoder and every device agree to the bit.
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged

BITS: Final = 12
TOTAL: Final = 1 << BITS
ESCAPE: Final = 255
MAX_CONTEXTS: Final = 96
MAX_CODE: Final = 128
# round(256 * 2 ** (i / 8)): the weights of one octave.
_OCTAVE: Final = np.array([256, 279, 304, 332, 362, 395, 431, 470], dtype=np.int64)


def weights_of(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The relative weights that log codes stand for; code 0 is weight 0. Raises `PatchError('damaged')`."""
    if codes.size and int(codes.max()) > MAX_CODE:
        raise damaged("a histogram code is out of range")
    step = codes.astype(np.int64) - 1
    weights: NDArray[np.int64] = np.where(codes > 0, _OCTAVE[step & 7] << np.maximum(step >> 3, 0), 0)
    return weights


def frequencies(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Frequencies for one context's 256 codes: each 1 to 4095 where present, sum 4096.

    Raises `PatchError('damaged')` for fewer than two symbols, since a certain symbol has no code in this format.
    """
    weights = weights_of(codes)
    present = weights > 0
    if int(present.sum()) < 2:
        raise damaged("a histogram has fewer than two symbols")
    total = int(weights.sum())
    counts = np.where(present, np.maximum(weights * TOTAL // total, 1), 0)
    largest = int(np.argmax(counts))
    counts[largest] += TOTAL - int(counts.sum())
    if counts[largest] < 1:
        raise damaged("a histogram is too flat")
    return counts


class Follow(IntEnum):
    """What a stored code is the difference from: the same symbol one context before, or two symbols before."""

    CONTEXT = 0
    SYMBOL = 1


def parse_codes(plane: bytes, contexts: int, symbols: int, follow: Follow) -> NDArray[np.uint8]:
    """Shapes (contexts, 256) from `plane`, (symbols + 1) * contexts bytes; the escape's codes come last."""
    codes = np.zeros((contexts, 256), dtype=np.uint8)
    grid = np.frombuffer(plane, dtype=np.uint8)
    if follow is Follow.CONTEXT:
        summed = np.cumsum(grid.reshape(symbols + 1, contexts), axis=1, dtype=np.uint8).T
    else:
        summed = grid.reshape(contexts, symbols + 1).copy()
        for sign in (0, 1):
            np.cumsum(summed[:, sign:symbols:2], axis=1, dtype=np.uint8, out=summed[:, sign:symbols:2])
    codes[:, :symbols] = summed[:, :symbols]
    codes[:, ESCAPE] = summed[:, symbols]
    return codes
