"""Weight extents: a grid of bytes predicted from old ones, corrected by coded residuals, block by block.

Rows and columns carry levels of spread, whose sum names the context of a residual; a level below zero marks a row
that follows its prediction. It holds one block of rows at a time.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_SIDE, Flag, Program, Shape
from skerry_agent.patch.sink import Sink
from skerry_agent.patch.symbols import Symbols, unzigzag

BLOCK_WEIGHTS: Final = 1 << 14
GAIN_ONE: Final = 256
ZIGZAG_MINUS_ONE: Final = 1

Grid = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Plan:
    """One weight extent. `levels` (rows,), `columns` (cols,); `gains` and `thresholds` broadcast over the grid."""

    rows: int
    cols: int
    zero: int
    shape: Shape
    levels: Grid
    columns: Grid
    gains: Grid
    thresholds: Grid
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
    columns, gains = np.zeros(cols, np.int32), np.zeros((1, 1), np.int32)
    thresholds, tie = np.zeros((1, 1), np.int32), 0
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
        rows = slice(start, min(start + step, plan.rows))
        before = np.full((rows.stop - start, plan.cols), plan.zero, np.uint8) if old is None else old[rows]
        block = predict(plan, rows, before)
        residual = _residuals(block, symbols.read(block.context[block.coded]))
        made = (block.value + residual + plan.zero).astype(np.uint8)
        sink.put(made.reshape(-1).data)


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
    return Prediction(value, context, np.where(fraction < 0, -1, 1), coded & ~pruned, tie)


def _scaled(value: Grid, gains: Grid) -> tuple[Grid, Grid]:
    scaled = value * (GAIN_ONE + gains)
    near = (scaled + GAIN_ONE // 2) >> 8
    return near, scaled - (near << 8)


def _residuals(block: Prediction, symbols: NDArray[np.uint8]) -> Grid:
    grid = np.zeros(block.value.shape, np.uint8)
    grid[block.coded] = symbols
    if block.tie.any():
        _swap(grid, block)
    return block.sign * unzigzag(grid)


def _swap(grid: NDArray[np.uint8], block: Prediction) -> None:
    # At the threshold "it became zero" is as likely as "it stayed", so it trades places with the symbol for -1.
    to_zero = zigzag(-block.value * block.sign)
    first, second = block.tie & (grid == ZIGZAG_MINUS_ONE), block.tie & (grid == to_zero)
    grid[second] = ZIGZAG_MINUS_ONE
    grid[first] = to_zero[first]


def zigzag(values: Grid) -> NDArray[np.uint8]:
    """The symbols 0, 1, 2, 3, ... for 0, -1, 1, -2, ...; values count modulo 256."""
    narrow = values.astype(np.int8).astype(np.int32)
    return ((narrow << 1) ^ (narrow >> 31)).astype(np.uint8)


def _per_row(grid: Grid, rows: slice) -> Grid:
    return grid if grid.shape[0] == 1 else grid[rows]


def _context(number: int, symbols: Symbols) -> int:
    if number >= symbols.contexts:
        raise damaged("a context is out of range")
    return number
