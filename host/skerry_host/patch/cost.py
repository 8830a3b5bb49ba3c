"""Bits that symbols cost under counted histograms, and the grouping of symbol lists that share one.

Estimates for choosing; nothing here is written to a patch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 1 << 18

Symbols = NDArray[np.uint8]


def bits_of(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float32]:
    """The price in bits of each symbol for `counts` (..., 256), unseen ones at about an escape."""
    smooth = counts + 0.02
    price = np.log2(smooth.sum(axis=-1, keepdims=True)) - np.log2(smooth)
    capped: NDArray[np.float32] = np.minimum(price, 20.0).astype(np.float32)
    return capped


def count(symbols: Symbols) -> NDArray[np.int64]:
    """How often each of the 256 symbols occurs."""
    flat, counts = symbols.reshape(-1), np.zeros(256, np.int64)
    for start in range(0, len(flat), BATCH):  # bincount makes eight bytes of each symbol first
        counts += np.bincount(flat[start : start + BATCH], minlength=256)
    return counts


def entropy_bits(symbols: Symbols) -> float:
    """The order-0 entropy of all of `symbols`, in bits."""
    counts = count(symbols)
    seen = counts[counts > 0]
    return float(seen.sum() * np.log2(max(1, seen.sum())) - (seen * np.log2(seen)).sum())


def group(lists: Sequence[Symbols], groups: int) -> list[int]:
    """For each list the group whose histogram suits it; at most `groups`, numbered from 0 without gaps."""
    if not lists:
        return []
    counts = np.array([count(symbols) for symbols in lists])
    ranked = np.argsort([float((row * np.arange(256)).sum() / max(1, row.sum())) for row in counts], kind="stable")
    chosen = np.zeros(len(lists), int)
    chosen[ranked] = np.arange(len(lists)) * groups // len(lists)
    for _ in range(6):
        sums = np.array([counts[chosen == g].sum(axis=0) for g in range(groups)])
        prices = counts @ bits_of(sums).T + np.where(sums.sum(axis=1) == 0, 1e9, 0)
        chosen = prices.argmin(axis=1)
    used = np.flatnonzero(np.bincount(chosen))
    return [int(number) for number in used.searchsorted(chosen)]


def median(values: NDArray[np.number]) -> float:
    """The median of at least one value; numpy's own imports 0.1 s of numpy.ma first, as its `unique` does."""
    flat = values.reshape(-1)
    half = flat.size // 2
    ends = (half - 1, half) if flat.size % 2 == 0 else (half, half)
    ordered = np.partition(flat, ends)
    return (float(ordered[ends[0]]) + float(ordered[ends[1]])) / 2


def middle(values: NDArray[np.integer]) -> int:
    """The median, rounded towards 0."""
    return int(median(values))
