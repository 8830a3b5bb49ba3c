"""Weight extents: a grid of bytes predicted from old ones, corrected by coded residuals, block by block.

Rows and columns carry levels of spread, whose sum names the context of a residual; a level below zero marks a row
that follows its prediction. It holds one block of rows at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_SIDE, Flag, Program, Shape
from skerry_agent.patch.sink import Sink
from skerry_agent.patch.symbols import Symbols, unzigzag

BLOCK_WEIGHTS: Final = 1 << 14  # whose symbols are one run
PART_WEIGHTS: Final = 1 << 13  # that are predicted at a time, to bound memory
GAIN_ONE: Final = 256
ZIGZAG_MINUS_ONE: Final = 1

Grid = NDArray[np.int32]
Classes = NDArray[np.int32] | NDArray[np.int16]
"""Levels, gains and thresholds: all within 9 bits; the decoder holds them as 16."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One weight extent. `levels` (rows,), `columns` (cols,); `gains` and `thresholds` broadcast over the grid."""

    rows: int
    cols: int
    zero: int
    shape: Shape
    levels: Classes
    columns: Classes
    gains: Classes
    thresholds: Classes
    tie_context: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is known of a block before its residuals: predicted value, context, mirror sign, who is coded, ties."""

    value: Grid
    context: NDArray[np.intp]
    sign: Grid
    coded: NDArray[np.bool_]
    tie: NDArray[np.bool_]


def read_plan(kind: int, rows: int, program: Program, symbols: Symbols) -> Plan:
    """The plan of the next weight extent: fields from `program.params`, classes from `symbols`."""
    params = program.params
    cols = params.varint(MAX_SIDE)
    number = params.varint(MAX_CONTEXTS)
    if not rows or not cols or rows > MAX_SIDE or number >= len(program.shapes):
        raise damaged("a weight extent is out of range")
    zero = params.byte()
    base, row_context = params.signed(MAX_CONTEXTS), _context(params.varint(MAX_CONTEXTS), symbols)
    levels = base + symbols.small(rows, row_context)
    columns, gains = np.zeros(cols, np.int16), np.zeros((1, 1), np.int16)
    thresholds, tie = np.zeros((1, 1), np.int16), 0
    if kind & Flag.COLUMNS:
        columns = symbols.small(cols, _context(params.varint(MAX_CONTEXTS), symbols))
    channels = (1, cols) if kind & Flag.ACROSS else (rows, 1)
    if kind & Flag.GAIN:
        gains = symbols.small(max(channels), _context(params.varint(MAX_CONTEXTS), symbols)).reshape(channels)
    if kind & Flag.PRUNE:
        middle, context = params.byte(), _context(params.varint(MAX_CONTEXTS), symbols)
        tie = _context(params.varint(MAX_CONTEXTS), symbols)
        thresholds = (middle + symbols.small(max(channels), context)).reshape(channels)
    return Plan(rows, cols, zero, program.shapes[number], levels, columns, gains, thresholds, tie)


def run_weights(plan: Plan, old: NDArray[np.uint8] | None, symbols: Symbols, sink: Sink) -> None:
    """Write `plan.rows * plan.cols` bytes to `sink`, predicted from `old` (rows, cols) or from nothing."""
    step = max(1, BLOCK_WEIGHTS // plan.cols)
    for start in range(0, plan.rows, step):
        runs, parts = [], []
        for rows, cols in _parts(slice(start, min(start + step, plan.rows)), plan.cols):
            shape = (rows.stop - rows.start, cols.stop - cols.start)
            before = np.full(shape, plan.zero, np.uint8) if old is None else old[rows, cols]
            block = predict(_within(plan, cols), rows, before)
            runs.append(block.context[block.coded].astype(np.uint8))
            parts.append(_Waiting.of(block))
        found, at = symbols.read(np.concatenate(runs)), 0
        for run, part in zip(runs, parts, strict=True):
            made = part.value + _residuals(part, found[at : at + len(run)]) + plan.zero
            sink.put(made.astype(np.uint8).reshape(-1).data)
            at += len(run)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is kept of a part's prediction until the symbols of the whole block are known: a few bytes a weight."""

    value: NDArray[np.int16]
    sign: NDArray[np.int8]
    coded: NDArray[np.bool_]
    tie: NDArray[np.bool_]

    @classmethod
    def of(cls, block: Prediction) -> "_Waiting":
        """Values are below 256 in magnitude."""
        return cls(block.value.astype(np.int16), block.sign.astype(np.int8), block.coded, block.tie)


def _parts(rows: slice, cols: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a block in the order of its bytes: some whole rows each, or some columns of one row."""
    high = max(1, PART_WEIGHTS // cols)
    for top in range(rows.start, rows.stop, high):
        for left in range(0, cols, PART_WEIGHTS):
            yield slice(top, min(top + high, rows.stop)), slice(left, min(left + PART_WEIGHTS, cols))


def _within(plan: Plan, cols: slice) -> Plan:
    """The plan for some of the columns."""
    if plan.cols <= PART_WEIGHTS:
        return plan
    gains, thresholds = (grid if grid.shape[1] == 1 else grid[:, cols] for grid in (plan.gains, plan.thresholds))
    return replace(plan, cols=cols.stop - cols.start, columns=plan.columns[cols], gains=gains, thresholds=thresholds)


def predict(plan: Plan, rows: slice, before: NDArray[np.uint8]) -> Prediction:
    """What both sides know of a block of rows whose old bytes are `before` (rows, cols)."""
    value = (before - np.uint8(plan.zero)).view(np.int8).astype(np.int32)
    levels = plan.levels[rows, None]
    coded = np.broadcast_to(levels >= 0, value.shape)
    level = np.clip(levels + plan.columns, 0, plan.shape.levels - 1)
    context = (plan.shape.first + level * plan.shape.buckets).astype(np.intp)
    size, limit = np.abs(value), _per_row(plan.thresholds, rows)
    tie = (size == limit) & (limit > 0)
    pruned = size < limit
    value, fraction = _scaled(value, _per_row(plan.gains, rows))
    value = np.where(pruned, 0, value)
    context += np.minimum((np.abs(fraction) * (2 * plan.shape.buckets)) >> 8, plan.shape.buckets - 1)
    context = np.where(tie, plan.tie_context, context)
    return Prediction(value, context, np.where(fraction < 0, np.int32(-1), np.int32(1)), coded & ~pruned, tie)


def _scaled(value: Grid, gains: Classes) -> tuple[Grid, Grid]:
    scaled = value * (GAIN_ONE + gains)
    near = (scaled + GAIN_ONE // 2) >> 8
    return near, scaled - (near << 8)


def _residuals(block: _Waiting, symbols: NDArray[np.uint8]) -> Grid:
    grid = np.zeros(block.value.shape, np.uint8)
    grid[block.coded] = symbols
    if block.tie.any():
        _swap(grid, block)
    return block.sign * unzigzag(grid)


def _swap(grid: NDArray[np.uint8], block: _Waiting) -> None:
    # At the threshold "it became zero" is as likely as "it stayed", so it trades places with the symbol for -1.
    to_zero = zigzag(-block.value * block.sign)
    first, second = block.tie & (grid == ZIGZAG_MINUS_ONE), block.tie & (grid == to_zero)
    grid[second] = ZIGZAG_MINUS_ONE
    grid[first] = to_zero[first]


def zigzag(values: Grid) -> NDArray[np.uint8]:
    """The symbols 0, 1, 2, 3, ... for 0, -1, 1, -2, ...; values count modulo 256."""
    narrow = values.astype(np.int8).astype(np.int32)
    return ((narrow << 1) ^ (narrow >> 31)).astype(np.uint8)


def _per_row(grid: Classes, rows: slice) -> Classes:
    return grid if grid.shape[0] == 1 else grid[rows]


def _context(number: int, symbols: Symbols) -> int:
    if number >= symbols.contexts:
        raise damaged("a context is out of range")
    return number
