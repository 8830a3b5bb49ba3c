"""What residuals cost: a key for each weight that holds all that its price depends on, save its level.

Keys come from tables over (gain, old byte) and are looked up block by block, so that a block stays in the processor's
cache. It chooses nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.program import Shape
from skerry_agent.patch.weights import Plan, predict, zigzag
from skerry_host.patch.grid import Fit, Grid

BLOCK = 1 << 13
SIGNS = 512  # keys of one bucket: residual bytes 0 to 255 for a positive sign, then for a negative one
MOST_GAIN = 127
BATCH = 1 << 16


def stride_of(buckets: int) -> int:
    """How many keys there are for `buckets`; the last stands for a weight that is not coded."""
    return buckets * SIGNS + 1


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the rows of a grid in blocks."""
    step = max(1, BLOCK // max(1, shape[1]))
    yield from (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def batches(pieces: Iterable[Grid]) -> Iterator[Grid]:
    """Yield the same numbers in fewer pieces."""
    waiting: list[Grid] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= BATCH:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def by_symbol(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts of keys (levels, keys) as counts of symbols (levels, buckets, 256)."""
    signs = counts[:, :-1].reshape(len(counts), -1, 2, 256)
    made = np.zeros((len(counts), signs.shape[1], 256), np.int64)
    for sign, symbols in enumerate(_SYMBOLS):
        made[..., symbols] += signs[:, :, sign]
    return made


def keys_of(fit: Fit, rows: slice, gains: Grid, buckets: int) -> NDArray[np.uint16]:
    """The keys of a block of rows for `gains` that broadcast with it, in as many layers as those have."""
    new = fit.new[rows]
    if fit.old is None:
        return (new - np.uint8(fit.zero)).astype(np.uint16)
    if fit.thresholds.any():
        return _pruned_keys(fit, rows, gains, buckets)
    old = fit.old[rows]
    if not gains.any():
        plain = (new - old).astype(np.uint16)
        return plain if gains.ndim == 2 else np.broadcast_to(plain, (len(gains), *plain.shape))
    if gains.ndim == 2 and gains.shape[0] not in {1, len(new)}:
        gains = gains[rows]
    predicted, parts = _tables(fit.zero, buckets)
    where = ((gains + MOST_GAIN) << 8) + old
    keys: NDArray[np.uint16] = parts.take(where)
    keys += new - predicted.take(where)
    return keys


def _pruned_keys(fit: Fit, rows: slice, gains: Grid, buckets: int) -> NDArray[np.uint16]:
    if gains.ndim > 2:
        return np.stack([_pruned_keys(fit, rows, layer, buckets) for layer in gains])
    before = fit.before[rows]
    count, cols = before.shape
    gains, thresholds = (each if len(each) in {1, count} else each[rows] for each in (gains, fit.thresholds))
    none = np.zeros(count, np.int32), np.zeros(cols, np.int32)
    plan = Plan(count, cols, fit.zero, Shape(0, 1, buckets), *none, gains, thresholds, 0)
    block = predict(plan, slice(0, count), before)
    residual = (fit.new[rows].astype(np.int32) - fit.zero - block.value) & 0xFF
    keys = block.context * SIGNS + np.where(block.sign < 0, 256, 0) + residual
    return np.where(block.coded & ~block.tie, keys, buckets * SIGNS).astype(np.uint16)


@cache
def _tables(zero: int, buckets: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """For each (gain, old byte) the predicted byte, and the key of a residual of 0."""
    gains = np.arange(-MOST_GAIN, MOST_GAIN + 1, dtype=np.int32)[:, None]
    before = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(gains), 256))
    none = np.zeros(len(gains), np.int32), np.zeros(256, np.int32)
    plan = Plan(len(gains), 256, zero, Shape(0, 1, buckets), *none, gains, np.zeros((1, 1), np.int32), 0)
    block = predict(plan, slice(0, len(gains)), before)
    parts = block.context * SIGNS + np.where(block.sign < 0, 256, 0)
    return (block.value + zero).astype(np.uint8).reshape(-1), parts.astype(np.uint16).reshape(-1)


_RESIDUALS = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32)
_SYMBOLS = (zigzag(_RESIDUALS), zigzag(-_RESIDUALS))


@dataclass(slots=True)
class Prices:
    """Bits (levels, buckets, 256) of symbols, looked up by key; what is not coded costs nothing."""

    bits: NDArray[np.float32]
    levels: int = field(init=False)
    buckets: int = field(init=False)
    _flat: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.levels, self.buckets, _ = self.bits.shape
        signs = np.stack([self.bits[..., symbols] for symbols in _SYMBOLS], axis=2).reshape(self.levels, -1)
        self._flat = np.concatenate([signs, np.zeros((self.levels, 1), np.float32)], axis=1).reshape(-1)

    def of(self, keys: NDArray[np.uint16], levels: Grid, columns: Grid) -> NDArray[np.float32]:
        """The bits of every weight; levels (..., rows) and columns (..., cols)."""
        if not columns.any():
            columns = columns[..., :1]
        spots = np.clip(levels[..., :, None] + columns[..., None, :], 0, self.levels - 1) * stride_of(self.buckets)
        found: NDArray[np.float32] = self._flat.take(spots + keys)
        return found

    def of_rows(self, keys: NDArray[np.uint16], tries: Grid, columns: Grid) -> NDArray[np.float32]:
        """The bits (tries, rows) of rows at each of their levels in `tries`."""
        costs = np.zeros(tries.shape, np.float32)
        for part in blocks(keys.shape):
            costs[:, part] = self.of(keys[part], tries[:, part], columns).sum(axis=2)
        return costs

    def of_columns(self, keys: NDArray[np.uint16], levels: Grid, tries: Grid) -> NDArray[np.float32]:
        """The bits (tries, columns) of columns at each of their levels in `tries`."""
        costs = np.zeros(tries.shape, np.float32)
        for part in blocks(keys.shape):
            costs += self.of(keys[part], levels[None, part], tries).sum(axis=1)
        return costs
