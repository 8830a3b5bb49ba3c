"""Pairs grids of floats of two models and fits what predicts the new ones best: gains, levels of rows and columns.

Whatever is unchanged, tiny or better off as plain bytes is left out. It writes nothing.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.floats import (
    BLOCK_FLOATS,
    GAIN_BITS,
    MAX_FLOAT_COLS,
    FloatFormat,
    FloatPlan,
    FloatPrediction,
    Ints,
    predict_floats,
)
from skerry_agent.patch.program import MAX_SIDE
from skerry_host.patch.cost import entropy_bits
from skerry_host.patch.recorder import number_symbols
from skerry_host.patch.tensors import Floats, Layout

SMALLEST = 32  # floats below which a grid stays plain bytes
SPARSE = 400  # a grid with fewer than one change in so many floats is cheaper as scattered changes
NEAREST = 4  # grids of equal shape that are tried, nearest in the file first
SAMPLE = 4096  # floats that a candidate is judged by
ENOUGH = 1 << 15  # floats that choices are judged by
MAX_STEP = 127  # octaves of a row or column from the middle
MAX_GAIN = 1 << GAIN_BITS - 2
GAIN_COST = 14.0  # bits of a channel's gain
WORTH = 0.97  # the share of what plain bytes take, above which a grid stays as it is
RARE = 400  # a context is for at least one in so many floats; fewer share that of the octave beside
_EXPONENTS = 1 << 8  # of float32 and bfloat16; float16 has fewer
LOWEST, SPREAD = -6, 40  # the contexts that a grid is judged by

Words = NDArray[np.uint32] | NDArray[np.uint16]


@dataclass(slots=True)
class FloatFit:
    """A grid of floats: new words (rows, cols), old ones or None, and what has been chosen for it so far.

    `levels` and `columns` are octaves of the change in units of the last place, at exponent 0; `gains` broadcasts.
    """

    new: Words
    old: Words | None
    across: bool
    format: FloatFormat
    levels: Ints
    unchanged: NDArray[np.bool_]
    columns: Ints
    gains: Ints = field(default_factory=lambda: np.zeros((1, 1), np.int64))

    @property
    def before(self) -> Words:
        """The words that the prediction starts from."""
        return np.zeros_like(self.new) if self.old is None else self.old

    def plan(self, first: int, spread: int, lowest: int) -> FloatPlan:
        """The choices in the decoder's own terms, for contexts the first of which is for `lowest` octaves."""
        rows, cols = self.new.shape
        fitted = self.levels, ~self.unchanged, self.columns, self.gains
        return FloatPlan(rows, cols, self.format, first, spread, lowest, *fitted)

    def blocks(self) -> Iterator[slice]:
        """The decoder's blocks of rows."""
        step = max(1, BLOCK_FLOATS // self.new.shape[1])
        return (slice(start, min(start + step, len(self.new))) for start in range(0, len(self.new), step))


@dataclass(frozen=True, slots=True)
class FloatRegion:
    """A grid of floats to code at `at`, from the old ones at `old_at` or from nothing."""

    at: int
    old_at: int | None
    fit: FloatFit

    @property
    def size(self) -> int:
        """How many bytes of the new file it makes."""
        return int(self.fit.new.nbytes)


@dataclass(frozen=True, slots=True)
class FloatSymbols:
    """What codes some floats: their symbols, and what is raw, as values of so many bits."""

    symbols: NDArray[np.uint8]
    low: Ints
    lengths: Ints


@dataclass(slots=True)
class FloatRegions:
    """Grids worth coding, and those that hardly changed: new offset -> (size, old offset)."""

    grids: list[FloatRegion] = field(default_factory=list)
    anchors: dict[int, tuple[int, int]] = field(default_factory=dict)


def find_floats(old: bytes, new: bytes, before: Layout, after: Layout) -> FloatRegions:
    """The grids of floats of `after`, none overlapping another, each with the old grid that predicts it best."""
    finder, found, end = _Finder(old, new, before), FloatRegions(), 0
    for place, grid in enumerate(after.floats):
        if grid.at < end or grid.rows * grid.cols < SMALLEST:
            continue
        end = grid.at + grid.size
        nearest = finder.nearest(grid, place)
        if nearest is not None and finder.hardly_changed(grid, nearest):
            found.anchors[grid.at] = grid.size, nearest.at
        else:
            found.grids += finder.regions(grid, nearest)
    return found


def symbols_of_floats(layout: FloatFormat, block: FloatPrediction, new: Words) -> FloatSymbols:
    """What turns the prediction `block` into `new` (rows, cols); all three flat."""
    words = new.reshape(-1).astype(np.int64) >> layout.shift
    size, negative = words & ((1 << layout.top) - 1), words >> layout.top
    symbols, low, lengths = number_symbols((size ^ -negative) - block.ordered.reshape(-1))
    fresh = block.fresh.reshape(-1)
    if fresh.any():
        step = ((size >> layout.mantissa) - block.expected.reshape(-1)).astype(np.int8).astype(np.int64)
        coded = np.minimum(1 + ((step << 1) ^ (step >> 63)), 255).astype(np.uint8)
        mantissa = negative << layout.mantissa | size & (1 << layout.mantissa) - 1
        symbols = np.where(fresh, np.where(words == 0, np.uint8(0), coded), symbols)
        low = np.where(fresh, np.where(words == 0, 0, mantissa), low)
        lengths = np.where(fresh, np.where(words == 0, 0, layout.mantissa + 1), lengths)
    return FloatSymbols(symbols, low, lengths)


def has_symbols(fit: FloatFit) -> bool:
    """Whether a fresh value of any of its exponents has a symbol: one that is 128 from what is expected has none."""
    layout = fit.format
    exponents = fit.new[fit.new != 0].astype(np.int64) >> layout.shift + layout.mantissa & _EXPONENTS - 1
    expected = np.unique(fit.levels)[:, None] + np.unique(fit.columns) - layout.mantissa
    return not np.isin(exponents, expected + _EXPONENTS // 2 & _EXPONENTS - 1).any()


def octaves_of(regions: list[FloatRegion]) -> tuple[int, int]:
    """The lowest change in octaves of units that deserves a context of its own, and how many such octaves there are."""
    counts = np.zeros(SPREAD, np.int64)
    for fit in (region.fit for region in regions):
        plan = fit.plan(0, SPREAD, LOWEST)
        for block in fit.blocks():
            found = predict_floats(plan, block, fit.before[block])
            counts += np.bincount(found.context[~found.fresh & plan.coded[block, None]], minlength=SPREAD)
    used = np.flatnonzero(counts >= max(1, int(counts.sum()) // RARE))
    return (LOWEST + int(used[0]), int(used[-1] - used[0]) + 1) if len(used) else (0, 1)


class _Finder:
    def __init__(self, old: bytes, new: bytes, layout: Layout) -> None:
        self._old, self._new, self._grids = old, new, layout.floats
        self._by_content: dict[bytes, list[int]] = defaultdict(list)
        self._by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, grid in enumerate(layout.floats):
            self._by_content[digest(old, grid)].append(place)
            self._by_shape[_shape(grid)].append(place)

    def nearest(self, grid: Floats, place: int) -> Floats | None:
        """The old grid of equal content, else that of equal shape and least distance."""
        alike = self._by_content.get(digest(self._new, grid)) or self._by_shape.get(_shape(grid), [])
        near = [self._grids[other] for other in sorted(alike, key=lambda other: abs(other - place))[:NEAREST]]
        return min(near, key=lambda other: self._distance(grid, other)) if len(near) > 1 else near[0] if near else None

    def hardly_changed(self, grid: Floats, old: Floats) -> bool:
        """Whether plain bytes say best what changed."""
        changes = np.count_nonzero(_words(self._new, grid) != _words(self._old, old))
        return int(changes) * SPARSE <= grid.rows * grid.cols

    def regions(self, grid: Floats, old: Floats | None) -> Iterator[FloatRegion]:
        """Yield the parts of `grid` that are worth coding, in as many regions as the format asks for."""
        after, before = _words(self._new, grid), None if old is None else _words(self._old, old)
        shift = _zero_bits(after if before is None else after | before, grid.mantissa)
        layout = FloatFormat(grid.width, grid.mantissa - shift, shift)
        for start, rows, cols in _pieces(grid):
            part = slice(start, start + rows * cols)
            new = after[part].reshape(rows, cols)
            was = None if before is None else before[part].reshape(rows, cols)
            bits, fit = _fitted(new, was, grid.across, layout)
            if bits < WORTH * _plain_bits(new) and has_symbols(fit):
                moved = start * grid.width
                yield FloatRegion(grid.at + moved, old.at + moved if old and fit.old is not None else None, fit)

    def _distance(self, grid: Floats, old: Floats) -> float:
        step = max(1, grid.rows * grid.cols // SAMPLE)
        layout = FloatFormat(grid.width, grid.mantissa, 0)
        after, before = (_values(words[::step], layout) for words in (_words(self._new, grid), _words(self._old, old)))
        return float(np.abs(after - before).sum())


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a grid is coded from, and which of its classes are said."""

    past: bool
    gains: bool
    rows: bool
    columns: bool


def _fitted(new: Words, old: Words | None, across: bool, layout: FloatFormat) -> tuple[float, FloatFit]:
    """The bits and the fit of `new`, from `old` or on its own. What suits some rows of a large grid suits all."""
    every = max(1, new.size // ENOUGH)
    some, before = new[::every], None if old is None else old[::every]
    bits, choice = min(_choices(some, before, across, layout), key=lambda one: one[0])
    start = _start(new, old if choice.past else None, across, layout, choice.gains)
    return bits * new.size / some.size, start.levelled(choice.rows, choice.columns)


def _choices(new: Words, old: Words | None, across: bool, layout: FloatFormat) -> Iterator[tuple[float, _Choice]]:
    """Yield what each choice costs in bits."""
    for past, gains in ((False, False), (True, False), (True, True)):
        if past and old is None:
            continue
        start = _start(new, old if past else None, across, layout, gains)
        extra = GAIN_COST * start.fit.gains.size if start.fit.gains.any() else 0.0
        for rows, columns in _CLASSES:
            if (rows and len(new) == 1) or (columns and new.shape[1] == 1):
                continue
            fit = start.levelled(rows, columns)
            side = _side_bits(fit.levels) + _side_bits(fit.columns)
            yield _bits(fit, start.symbols) + side + extra, _Choice(past, gains, rows, columns)


_CLASSES = ((False, False), (True, False), (True, True), (False, True))


@dataclass(frozen=True, slots=True)
class _Start:
    """A fit without levels, how far each of its floats moves, and its symbols where those do not depend on levels."""

    fit: FloatFit
    change: NDArray[np.float64]
    symbols: FloatSymbols | None

    def levelled(self, rows: bool, columns: bool) -> FloatFit:
        """The fit with levels of its rows, columns, both or neither: octaves of the mean change."""
        mantissa, change = self.fit.format.mantissa, self.change
        whole = round(float(_octaves(change.mean()))) + mantissa
        levels = np.full(len(change), whole, np.int64)
        steps = np.zeros(change.shape[1], np.int64)
        if rows:
            levels = _near(np.rint(_octaves(change.mean(axis=1)) + mantissa), whole)
        if columns:
            scaled = change * np.exp2(mantissa - levels.astype(np.float64))[:, None] if rows else change
            middle = 0 if rows else whole - mantissa
            steps = _near(np.rint(_octaves(scaled.mean(axis=0))) - middle, 0)
        return replace(self.fit, levels=levels, columns=steps)


def _start(new: Words, old: Words | None, across: bool, layout: FloatFormat, gains: bool) -> _Start:
    nothing = np.zeros(len(new), np.int64), np.zeros(len(new), np.bool_), np.zeros(new.shape[1], np.int64)
    fit = FloatFit(new, old, across, layout, *nothing)
    if gains and old is not None:
        fit.gains = _gains(new, old, across, layout)
    block = predict_floats(fit.plan(0, SPREAD, LOWEST), slice(0, len(new)), fit.before)
    change = np.abs(_values(new, layout) - _ordered_values(block.ordered, layout))
    if old is None:
        return _Start(fit, change, None)
    fit.unchanged = np.logical_not(change.any(axis=1))
    return _Start(fit, change, symbols_of_floats(layout, block, new))


def _near(levels: NDArray[np.float64], middle: int) -> Ints:
    return np.clip(levels, middle - MAX_STEP // 2, middle + MAX_STEP // 2).astype(np.int64)


def _octaves(size: NDArray[np.float64]) -> NDArray[np.float64]:
    tiny = 2.0**-60
    found: NDArray[np.float64] = np.log2(np.maximum(size, tiny))
    return found


def _bits(fit: FloatFit, found: FloatSymbols | None) -> float:
    block = predict_floats(fit.plan(0, SPREAD, LOWEST), slice(0, len(fit.new)), fit.before)
    # Symbols of fresh values depend on the levels, all others only on the prediction.
    if found is None or block.fresh.any():
        found = symbols_of_floats(fit.format, block, fit.new)
    coded = np.repeat(~fit.unchanged, fit.new.shape[1])
    keys = (block.context.reshape(-1) << 8 | found.symbols)[coded]
    counts = np.bincount(keys, minlength=(SPREAD + 2) << 8).reshape(-1, 256)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    bits = counts * (np.log2(totals) - np.log2(np.maximum(counts, 1)))
    return float(bits.sum()) + float(found.lengths[coded].sum())


def _side_bits(levels: Ints) -> float:
    return entropy_bits((levels - levels.min()).astype(np.uint8)) + 1.0 * int(levels.any())


def _gains(new: Words, old: Words, across: bool, layout: FloatFormat) -> Ints:
    after, before = _values(new, layout), _values(old, layout)
    axis = 0 if across else 1
    power = (before * before).sum(axis=axis, keepdims=True)
    ratio = (before * after).sum(axis=axis, keepdims=True) / np.where(power > 0, power, 1)
    steps = np.where(power > 0, np.rint((ratio - 1) * (1 << GAIN_BITS)), 0)
    return np.clip(steps, -MAX_GAIN, MAX_GAIN).astype(np.int64)


def _values(words: Words, layout: FloatFormat) -> NDArray[np.float64]:
    """What `words` stand for, but for a power of two; infinities and what is no number count as very large."""
    size = words.astype(np.int64) >> layout.shift
    negative = size >> layout.top
    return _ordered_values((size & (1 << layout.top) - 1) ^ -negative, layout)


def _ordered_values(ordered: Ints, layout: FloatFormat) -> NDArray[np.float64]:
    size = np.where(ordered < 0, ~ordered, ordered)
    exponent = size >> layout.mantissa
    significand = (size & (1 << layout.mantissa) - 1) | (exponent > 0).astype(np.int64) << layout.mantissa
    values: NDArray[np.float64] = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - layout.mantissa)
    np.negative(values, out=values, where=ordered < 0)
    return values


def _zero_bits(words: Words, mantissa: int) -> int:
    """How many last bits are 0 in all of `words`, at most all but one of the mantissa."""
    used = int(np.bitwise_or.reduce(words))
    return min(mantissa - 1, (used & -used).bit_length() - 1) if used else 0


def _plain_bits(new: Words) -> float:
    flat = new.reshape(-1)
    sample = np.concatenate([flat[:SAMPLE], flat[-SAMPLE:]]) if flat.size > 2 * SAMPLE else flat
    return 8.0 * len(zlib.compress(sample.tobytes(), 6)) * flat.size / max(1, sample.size)


def _pieces(grid: Floats) -> Iterator[tuple[int, int, int]]:
    """Yield (first float, rows, cols) of parts that the format can name: rows too long are cut where that is even."""
    rows, cols = grid.rows, grid.cols
    if cols > MAX_FLOAT_COLS:
        even = next((count for count in range(-(-cols // MAX_FLOAT_COLS), 65) if cols % count == 0), 0)
        rows, cols = (rows * even, cols // even) if even else _flat(rows * cols)
    for start in range(0, rows, MAX_SIDE):
        yield start * cols, min(MAX_SIDE, rows - start), cols
    if rest := grid.rows * grid.cols - rows * cols:
        yield rows * cols, 1, rest


def _flat(count: int) -> tuple[int, int]:
    return count // MAX_FLOAT_COLS, MAX_FLOAT_COLS


def _shape(grid: Floats) -> tuple[int, ...]:
    return grid.rows, grid.cols, grid.width, grid.mantissa


def digest(data: bytes, grid: Floats) -> bytes:
    """What tells the content of `grid` from any other."""
    return hashlib.blake2b(memoryview(data)[grid.at : grid.at + grid.size], digest_size=16).digest()


def _words(data: bytes, grid: Floats) -> Words:
    count = grid.rows * grid.cols
    if grid.width == 4:
        return np.frombuffer(data, np.uint32, count, grid.at)
    return np.frombuffer(data, np.uint16, count, grid.at)
