"""Chooses the coded shapes of contexts from counted symbols. The decoder's arithmetic makes frequencies of them.

A shape costs bytes, so it says no more than the counts support: rare symbols are smoothed along their magnitude, and a
code follows its neighbour unless the counts insist.
"""

import lzma
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.histograms import ESCAPE, TOTAL, Follow, frequencies

Counts = NDArray[np.int64]
Codes = NDArray[np.uint8]

TOP = 97  # the code of a context's commonest symbol: 12 octaves of eighths, plus one
ENOUGH = 64  # symbols that a smoothing window wants to see
ESCAPE_BITS = 19.0
_SMALL = [{"id": lzma.FILTER_LZMA1, "preset": 6, "dict_size": 1 << 16}]  # the usual dictionary would take 32 MB
SLACK, OVER = 25.0, 0.5  # how far a code may stray, in eighth octaves, when its symbol was seen once


@dataclass(frozen=True, slots=True)
class Model:
    """Shapes (contexts, 256) as log codes, the frequencies that they stand for and which symbols escape."""

    codes: Codes
    frequencies: NDArray[np.int64]
    escapes: NDArray[np.bool_]
    symbols: int
    follow: Follow
    plane: bytes


def fit(counts: Counts) -> Model:
    """The model for `counts` (contexts, 256) of symbols, with its shapes packed as small as they get."""
    escapes = np.array([_escapes(row) for row in counts], np.bool_).reshape(-1, 256)
    kept = np.where(escapes, 0, counts)
    wanted = [_wanted(row, int(counts[i][escapes[i]].sum())) for i, row in enumerate(kept)]
    models = [_packed(wanted, kept, escapes, follow) for follow in Follow]
    return min(models, key=lambda model: len(lzma.compress(model.plane, lzma.FORMAT_RAW, filters=_SMALL)))


def _packed(wanted: list[NDArray[np.float64]], kept: Counts, escapes: NDArray[np.bool_], follow: Follow) -> Model:
    codes = np.zeros((len(kept), 256), np.uint8)
    for number, (row, seen) in enumerate(zip(wanted, kept, strict=True)):
        codes[number] = _codes(row, seen, codes[number - 1] if number and follow is Follow.CONTEXT else None)
    used = np.flatnonzero(codes[:, :ESCAPE].any(axis=0))
    symbols = int(used[-1]) + 1 if len(used) else 0
    made = np.array([frequencies(row) for row in codes], np.int64).reshape(-1, 256)
    return Model(codes, made, escapes, symbols, follow, _plane(codes, symbols, follow))


def _plane(codes: Codes, symbols: int, follow: Follow) -> bytes:
    grid = np.vstack([codes[:, :symbols].T, codes[:, ESCAPE]])
    if follow is Follow.CONTEXT:
        return np.diff(grid, axis=1, prepend=np.zeros((len(grid), 1), np.uint8)).astype(np.uint8).tobytes()
    body = grid[:symbols].copy()
    body[2:] -= grid[: max(0, symbols - 2)]
    return np.vstack([body, grid[symbols:]]).T.astype(np.uint8).tobytes()


def _escapes(row: Counts) -> NDArray[np.bool_]:
    # A symbol of its own takes a slot of 4096 from all others and a little of the table.
    total = int(row.sum())
    own = row * np.log2(np.maximum(np.minimum(total / np.maximum(row, 1), TOTAL), 1)) + 3
    own += np.where(row * TOTAL < total, 1.44 * (total / TOTAL - row), 0)
    out: NDArray[np.bool_] = (row > 0) & (row * ESCAPE_BITS < own)
    out[ESCAPE] = row[ESCAPE] > 0
    return out


def _wanted(row: Counts, escaped: int) -> NDArray[np.float64]:
    """Smoothed counts, the escape's among them: every context keeps one, so that it has two symbols."""
    smooth = np.zeros(256)
    for sign in (0, 1):
        smooth[sign:ESCAPE:2] = _smoothed(row[sign:ESCAPE:2])
    if not smooth.any():
        smooth[0] = 1
    smooth[ESCAPE] = max(0.5, escaped)
    return smooth


def _smoothed(chain: Counts) -> NDArray[np.float64]:
    """`chain`, counts in order of magnitude, averaged over windows that widen with the magnitude."""
    used = np.flatnonzero(chain)
    result = np.zeros(len(chain))
    sums = np.concatenate([[0], np.cumsum(chain)])
    for place in range(int(used[-1]) + 1 if len(used) else 0):
        half = 0
        while half < place // 6 and sums[min(place + half + 1, len(chain))] - sums[place - half] < ENOUGH:
            half += 1
        low, high = place - half, min(place + half + 1, int(used[-1]) + 1)
        result[place] = (sums[high] - sums[low]) / (high - low)
    return result


def _codes(wanted: NDArray[np.float64], seen: Counts, before: Codes | None) -> Codes:
    """Codes near 8 * log2 of `wanted`, each following `before`, or its neighbour of equal sign, if it may."""
    present = wanted > 0
    ideal = np.where(present, 8 * np.log2(np.where(present, wanted, 1) / wanted.max()) + TOP, 0)
    slack = np.minimum(0.5 + SLACK / np.sqrt(seen + 0.5), 8.0)
    codes = np.zeros(256, np.int64)
    for symbol in np.flatnonzero(present):
        near = int(before[symbol]) if before is not None else int(codes[symbol - 2]) if 2 <= symbol < ESCAPE else 0
        away = float(ideal[symbol]) - near
        if near and abs(away) <= slack[symbol]:
            codes[symbol] = near
        else:  # past the mark by half the slack, so that the next symbols may stay
            codes[symbol] = max(1, round(near + away + (np.sign(away) * OVER * slack[symbol] if near else 0)))
    return codes.astype(np.uint8)
