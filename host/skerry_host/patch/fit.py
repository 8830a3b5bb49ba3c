"""Fits weight grids: gains, thresholds and the levels of rows and columns that make residuals cheapest.

All grids are fitted together, since they share histograms: prices follow from counts, choices from prices, three times
over. It writes nothing.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.program import Shape
from skerry_agent.patch.weights import GAIN_ONE, predict
from skerry_host.patch.cost import bits_of, median, middle
from skerry_host.patch.grid import UNCHANGED, Fit, Grid, symbols_of
from skerry_host.patch.prices import Prices, batches, blocks, by_symbol, keys_of, stride_of
from skerry_host.patch.progress import UNSEEN, Progress

REACHES = (2, 1, 0)  # how far gains and levels may move in each round; levels at least by 1
STEPS_PER_OCTAVE = 2


def fit_all(fits: list[Fit], shape: Shape, progress: Progress = UNSEEN) -> None:
    """Choose gains, thresholds and levels of all `fits` for contexts of the form `shape`."""
    probe = Shape(0, shape.levels, shape.buckets)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # what takes time are loops of numpy, which hold no lock
        list(pool.map(_start, fits))
        _first_levels(fits, probe)
        for done, reach in enumerate(REACHES):
            prices = Prices(_prices(fits, probe))
            chosen = pool.map(partial(_choose, prices=prices, reach=reach), fits)
            for number, _ in enumerate(chosen, 1):
                progress((done + number / len(fits)) / len(REACHES))


def _start(fit: Fit) -> None:
    fit.reset()
    if fit.packed:
        return
    _find_thresholds(fit)
    _first_gains(fit)


def _find_thresholds(fit: Fit) -> None:
    """Recognise pruning: per channel, the smallest magnitude that survived."""
    if fit.old is None:
        return
    before, after = (_values(grid, fit.zero) for grid in (fit.old, fit.new))
    died = (after == 0) & (before != 0)
    if died.mean() < 0.1:
        return
    axis = 0 if fit.across else 1
    size = np.abs(before)
    kept = np.where(after != 0, size, 256).min(axis=axis, keepdims=True)
    limit = np.minimum(kept, size.max(axis=axis, keepdims=True) + 1)
    if (size[died] <= np.broadcast_to(limit, size.shape)[died]).mean() > 0.9:
        fit.thresholds = np.minimum(limit, 128).astype(np.int32)


def _first_gains(fit: Fit) -> None:
    if fit.old is None:
        return
    before, after = (_values(grid, fit.zero).astype(np.float64) for grid in (fit.old, fit.new))
    if fit.thresholds.any():
        before = np.where(after == 0, 0, before)
    axis = 0 if fit.across else 1
    ratio = (before * after).sum(axis=axis, keepdims=True) / np.maximum(
        (before * before).sum(axis=axis, keepdims=True), 1
    )
    fit.gains = np.clip(np.rint((ratio - 1) * GAIN_ONE), -127, 127).astype(np.int32)


def _first_levels(fits: list[Fit], shape: Shape) -> None:
    """Spread the levels evenly over the logarithms of all widths, at most `STEPS_PER_OCTAVE` of them an octave."""
    widths = [_widths(fit, shape) for fit in fits]
    sums = [np.add.outer(rows[:: 1 + len(rows) // 64], columns[:: 1 + len(columns) // 64]) for rows, columns in widths]
    if not sums:
        return
    low, high = np.percentile(np.concatenate([grid.reshape(-1) for grid in sums]), (1, 99))
    step = max(1 / STEPS_PER_OCTAVE, float(high - low) / shape.levels)
    for fit, (rows, columns) in zip(fits, widths, strict=True):
        fit.levels = np.clip(np.rint((rows - low) / step), 0, shape.levels - 1).astype(np.int32)
        fit.columns = np.rint(columns / step).astype(np.int32)


def _widths(fit: Fit, shape: Shape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Base-2 logarithms of the mean error of rows and, about a median of 0, of columns."""
    rows_count, columns_count = fit.new.shape
    error = np.empty((rows_count, columns_count), np.float32)
    for part in blocks(fit.new.shape):
        error[part] = _errors(fit, part, shape.buckets)
    error += 0.03
    rows, columns = np.ones(rows_count), np.ones(columns_count)
    for _ in range(3):
        rows = (error @ (1 / columns).astype(np.float32)).astype(np.float64) / columns_count
        columns = ((1 / rows).astype(np.float32) @ error).astype(np.float64) / rows_count
    centre = median(np.log2(columns))
    return np.log2(rows) + centre, np.log2(columns) - centre


def _errors(fit: Fit, part: slice, buckets: int) -> NDArray[np.int16]:
    """The magnitudes of the residuals of a block of rows, 0 where nothing is coded."""
    if not fit.thresholds.any():
        return np.abs(keys_of(fit, part, fit.gains, buckets).astype(np.uint8).view(np.int8).astype(np.int16))
    block = predict(fit.plan(Shape(0, 1, buckets)), part, fit.before[part])
    residual = (fit.new[part].astype(np.int32) - fit.zero - block.value).astype(np.int8)
    return np.abs(residual.astype(np.int16)) * block.coded


def _prices(fits: list[Fit], shape: Shape) -> NDArray[np.float32]:
    """Bits (levels, buckets, 256) under the histograms of the present choices."""
    stride = stride_of(shape.buckets)
    counts = np.zeros(shape.levels * stride, np.int64)
    for keys in batches(_coded(fits, shape)):
        counts += np.bincount(keys, minlength=len(counts))
    grid = by_symbol(counts.reshape(shape.levels, stride)).astype(np.float64)
    # Neighbouring levels lend a little of their counts, so that a level nobody uses yet has a sane price.
    grid[1:] += 0.02 * grid[:-1]
    grid[:-1] += 0.02 * grid[1:]
    return bits_of(grid)


def _coded(fits: list[Fit], shape: Shape) -> Iterator[NDArray[np.int32]]:
    """Yield the keys, with their levels, of the weights whose rows have residuals."""
    stride = stride_of(shape.buckets)
    for fit in fits:
        for part in blocks(fit.new.shape):
            there = fit.levels[part] >= 0
            level = np.clip(fit.levels[part][there, None] + fit.columns, 0, shape.levels - 1)
            yield (level * stride + keys_of(fit, part, fit.gains, shape.buckets)[there]).reshape(-1)


def _choose(fit: Fit, prices: Prices, reach: int) -> None:
    fit.levels = np.maximum(fit.levels, 0)
    if reach and fit.old is not None and not fit.packed:
        _choose_gains(fit, prices, reach)
    keys = np.empty(fit.new.shape, np.uint16)
    for part in blocks(fit.new.shape):
        keys[part] = keys_of(fit, part, fit.gains, prices.buckets)
    tries = _tries(fit.levels, middle(fit.levels), reach)
    fit.levels = _cheapest(tries, prices.of_rows(keys, tries, fit.columns))
    tries = _tries(fit.columns, 0, reach)
    fit.columns = _cheapest(tries, prices.of_columns(keys, fit.levels, tries))
    fit.levels = np.clip(fit.levels, 0, prices.levels - 1)
    plain = prices.of_columns(keys, fit.levels, np.zeros_like(fit.columns)[None]).sum()
    if prices.of_columns(keys, fit.levels, fit.columns[None]).sum() + 2.0 * len(fit.columns) > plain:
        fit.columns = np.zeros_like(fit.columns)
    fit.levels[_still(fit, keys, prices.buckets)] = UNCHANGED


def _tries(now: Grid, centre: int, reach: int) -> Grid:
    """`now` moved by up to `reach`, but at least 1, and `centre`, from which codes cost more the further they are."""
    steps = sorted(range(-max(1, reach), max(1, reach) + 1), key=abs)
    return np.stack([*(now + step for step in steps), np.full_like(now, centre)])


def _cheapest(tries: Grid, costs: NDArray[np.float32]) -> Grid:
    """For each place the cheapest of `tries`, the last of which has the same value everywhere: the centre."""
    pick = np.argmin(costs + _side_bits(tries - tries[-1]), axis=0)
    chosen: Grid = np.take_along_axis(tries, pick[None], axis=0)[0]
    return chosen


def _still(fit: Fit, keys: NDArray[np.uint16], buckets: int) -> NDArray[np.bool_]:
    """Which rows need no residuals."""
    if not fit.thresholds.any():
        return np.asarray(((keys & 0xFF) == 0).all(axis=1))
    block = predict(fit.plan(Shape(0, 1, buckets)), slice(0, len(fit.new)), fit.before)
    return np.asarray(((symbols_of(block, fit.new, fit.zero) == 0) | ~block.coded).all(axis=1))


def _choose_gains(fit: Fit, prices: Prices, reach: int) -> None:
    rows, cols = fit.new.shape
    now = fit.gains if fit.gains.size > 1 else np.zeros((1, cols) if fit.across else (rows, 1), np.int32)
    tries = np.stack([np.zeros_like(now), *(np.clip(now + step, -127, 127) for step in range(-reach, reach + 1))])
    costs = np.zeros(tries.shape, np.float32)
    for part in blocks(fit.new.shape):
        gains = tries if fit.across else tries[:, part]
        cost = prices.of(keys_of(fit, part, gains, prices.buckets), fit.levels[part], fit.columns)
        if fit.across:
            costs += cost.sum(axis=1, keepdims=True)
        else:
            costs[:, part] = cost.sum(axis=2, keepdims=True)
    pick = np.argmin(costs + np.where(tries == 0, 1.0, 3.0 + 0.15 * np.abs(tries)), axis=0)
    fit.gains = np.take_along_axis(tries, pick[None], axis=0)[0]


def _side_bits(steps: Grid) -> NDArray[np.float64]:
    return 1.0 + 1.1 * np.abs(steps)


def _values(grid: NDArray[np.uint8], zero: int) -> Grid:
    return (grid - np.uint8(zero)).view(np.int8).astype(np.int32)
