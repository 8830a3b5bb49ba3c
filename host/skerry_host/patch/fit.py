"""Fits weight grids: gains, thresholds and the levels of rows and columns that make residuals cheapest.

All grids are fitted together, since they share histograms: prices follow from counts, choices from prices, three times
over. It writes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.program import Shape
from skerry_agent.patch.weights import GAIN_ONE, Plan, Prediction, predict, zigzag
from skerry_host.patch.cost import bits_of

REACHES = (2, 1, 0)  # how far gains and levels may move in each round; levels at least by 1
STEPS_PER_OCTAVE = 2
UNCHANGED = -1

Grid = NDArray[np.int32]


@dataclass(slots=True)
class Fit:
    """A grid to code: new bytes (rows, cols), old ones or `None`, and what has been chosen for it so far."""

    new: NDArray[np.uint8]
    old: NDArray[np.uint8] | None
    zero: int
    across: bool
    levels: Grid = field(default_factory=lambda: np.zeros(0, np.int32))
    columns: Grid = field(default_factory=lambda: np.zeros(0, np.int32))
    gains: Grid = field(default_factory=lambda: np.zeros((1, 1), np.int32))
    thresholds: Grid = field(default_factory=lambda: np.zeros((1, 1), np.int32))

    def reset(self) -> None:
        """Start from one level, no columns, no gain and no threshold."""
        self.levels = np.zeros(self.new.shape[0], np.int32)
        self.columns = np.zeros(self.new.shape[1], np.int32)
        self.gains = self.thresholds = np.zeros((1, 1), np.int32)

    @property
    def before(self) -> NDArray[np.uint8]:
        """The bytes that the prediction starts from."""
        return np.full(self.new.shape, self.zero, np.uint8) if self.old is None else self.old

    def rows(self, start: int, stop: int) -> "Fit":
        """The part of the grid from row `start` to before row `stop`."""
        if start == 0 and stop >= len(self.new):
            return self
        part = slice(start, stop)
        old = None if self.old is None else self.old[part]
        channels = (each if len(each) == 1 else each[part] for each in (self.gains, self.thresholds))
        return Fit(self.new[part], old, self.zero, self.across, self.levels[part], self.columns, *channels)

    def plan(self, shape: Shape, tie_context: int = 0) -> Plan:
        """The choices in the decoder's own terms."""
        rows, cols = self.new.shape
        chosen = (self.levels, self.columns, self.gains, self.thresholds)
        return Plan(rows, cols, self.zero, shape, *chosen, tie_context)


def symbols_of(block: Prediction, new: NDArray[np.uint8], zero: int) -> NDArray[np.uint8]:
    """The symbols (rows, cols) that turn the prediction `block` into `new`."""
    made = zigzag((new.astype(np.int32) - zero - block.value) * block.sign)
    to_zero = zigzag(-block.value * block.sign)
    swapped = np.where(made == 1, to_zero, np.where(made == to_zero, np.uint8(1), made))
    return np.where(block.tie, swapped, made)


def fit_all(fits: list[Fit], shape: Shape) -> None:
    """Choose gains, thresholds and levels of all `fits` for contexts of the form `shape`."""
    probe = Shape(0, shape.levels, shape.buckets)
    for fit in fits:
        fit.reset()
        _find_thresholds(fit)
        _first_gains(fit)
    _first_levels(fits, probe)
    for reach in REACHES:
        prices = _prices(fits, probe)
        for fit in fits:
            _choose(fit, probe, prices, reach)


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
    block = predict(fit.plan(shape), slice(0, len(fit.new)), fit.before)
    error = np.abs(_wrapped(fit.new.astype(np.int32) - fit.zero - block.value)) * block.coded + 0.03
    rows, columns = np.ones(error.shape[0]), np.ones(error.shape[1])
    for _ in range(3):
        rows = (error / columns).mean(axis=1)
        columns = (error / rows[:, None]).mean(axis=0)
    middle = float(np.median(np.log2(columns)))
    return np.log2(rows) + middle, np.log2(columns) - middle


def _prices(fits: list[Fit], shape: Shape) -> NDArray[np.float32]:
    """Bits (levels, buckets, 256) under the histograms of the present choices."""
    counts = np.zeros(shape.levels * shape.buckets * 256, np.int64)
    for fit in fits:
        block = predict(fit.plan(shape), slice(0, len(fit.new)), fit.before)
        coded = block.coded & ~block.tie
        keys = block.context[coded] * 256 + symbols_of(block, fit.new, fit.zero)[coded]
        counts += np.bincount(keys, minlength=len(counts))
    grid = counts.reshape(shape.levels, shape.buckets, 256).astype(np.float64)
    # Neighbouring levels lend a little of their counts, so that a level nobody uses yet has a sane price.
    grid[1:] += 0.02 * grid[:-1]
    grid[:-1] += 0.02 * grid[1:]
    return bits_of(grid)


def _choose(fit: Fit, shape: Shape, prices: NDArray[np.float32], reach: int) -> None:
    fit.levels = np.maximum(fit.levels, 0)
    if reach:
        _choose_gains(fit, shape, prices, reach)
    block = predict(fit.plan(shape), slice(0, len(fit.new)), fit.before)
    symbols = symbols_of(block, fit.new, fit.zero)
    free = ~block.coded | block.tie
    low = (block.context % shape.buckets) * 256 + symbols
    flat, stride = prices.reshape(-1), shape.buckets * 256

    def price(levels: Grid, columns: Grid) -> NDArray[np.float32]:
        spot = np.clip(levels[:, None] + columns, 0, shape.levels - 1) * stride + low
        return np.where(free, np.float32(0), flat[spot])

    centre = int(np.median(fit.levels))
    fit.levels = _best(fit.levels, centre, lambda levels: price(levels, fit.columns).sum(axis=1), reach)
    fit.columns = _best(fit.columns, 0, lambda columns: price(fit.levels, columns).sum(axis=0), reach)
    fit.levels = np.clip(fit.levels, 0, shape.levels - 1)
    plain = price(fit.levels, np.zeros_like(fit.columns)).sum()
    if price(fit.levels, fit.columns).sum() + 2.0 * len(fit.columns) > plain:
        fit.columns = np.zeros_like(fit.columns)
    fit.levels[((symbols == 0) | ~block.coded).all(axis=1)] = UNCHANGED


def _best(now: Grid, centre: int, price: Callable[[Grid], NDArray[np.float32]], reach: int) -> Grid:
    """`now` moved by `reach` (at least 1) where that is cheaper; codes cost more the further from `centre`."""
    tries = [now + step for step in sorted(range(-max(1, reach), max(1, reach) + 1), key=abs)]
    tries.append(np.full_like(now, centre))
    costs = [price(grid) + _side_bits(grid - centre) for grid in tries]
    pick = np.argmin(costs, axis=0)
    chosen: Grid = np.choose(pick, tries).astype(np.int32)
    return chosen


def _side_bits(steps: Grid) -> NDArray[np.float64]:
    return 1.0 + 1.1 * np.abs(steps)


def _choose_gains(fit: Fit, shape: Shape, prices: NDArray[np.float32], reach: int) -> None:
    if fit.old is None:
        return
    axis = 0 if fit.across else 1
    now = (
        fit.gains
        if fit.gains.size > 1
        else np.zeros((1, fit.new.shape[1]) if fit.across else (len(fit.new), 1), np.int32)
    )
    tries = [np.zeros_like(now), *(np.clip(now + step, -127, 127) for step in range(-reach, reach + 1))]
    costs = []
    for gains in tries:
        fit.gains = gains
        block = predict(fit.plan(Shape(0, shape.levels, shape.buckets)), slice(0, len(fit.new)), fit.before)
        cost = prices.reshape(-1)[block.context * 256 + symbols_of(block, fit.new, fit.zero)]
        cost = np.where(block.coded & ~block.tie, cost, 0).sum(axis=axis, keepdims=True)
        costs.append(cost + np.where(gains == 0, 1.0, 3.0 + 0.15 * np.abs(gains)))
    fit.gains = np.choose(np.argmin(costs, axis=0), tries).astype(np.int32)


def _values(grid: NDArray[np.uint8], zero: int) -> Grid:
    return (grid - np.uint8(zero)).view(np.int8).astype(np.int32)


def _wrapped(values: Grid) -> Grid:
    return values.astype(np.int8).astype(np.int32)
