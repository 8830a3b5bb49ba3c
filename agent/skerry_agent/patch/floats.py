"""Float extents: a grid of binary floats predicted from old ones, corrected by coded residuals, block by block.

What is small beside a weight's own size hides in its low bits: so a residual is counted in units of the last place, and
its context is how many of those the row and column are expected to move at the weight's exponent. Integers only, for
float32, float16, bfloat16 and whatever has sign, exponent and mantissa in this order. Layout in docs/patch-format.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_SIDE, Flag, Program
from skerry_agent.patch.sink import Sink
from skerry_agent.patch.symbols import MAX_CLASS, Symbols

BLOCK_FLOATS: Final = 1 << 12  # that are held at a time, to bound memory
MAX_FLOAT_COLS: Final = 1 << 12
MAX_LEVEL: Final = 1 << 10
GAIN_BITS: Final = 16
UNCHANGED: Final = -128
"""The step of a row that follows its prediction, without residuals."""

Ints = NDArray[np.int64]
FloatClasses = Ints | NDArray[np.int32] | NDArray[np.int16]
"""Levels and gains: within 12 and 17 bits; the decoder, which may have 65,536 of each, holds them as 16 and 32."""


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """Floats of `width` bytes whose last `shift` bits are 0, with `mantissa` bits before those."""

    width: int
    mantissa: int
    shift: int

    @property
    def top(self) -> int:
        """The place of the sign once the last bits are gone."""
        return 8 * self.width - 1 - self.shift


@dataclass(frozen=True, slots=True)
class FloatPlan:
    """One float extent. `levels` (rows,) and `columns` (cols,) in octaves, `gains` broadcasts over the grid.

    A level is how far values are expected to move, in units of the last place at exponent 0. Contexts from `first` are
    for values that move `lowest` octaves of their own units, and so on; two more are for those that none predicts.
    """

    rows: int
    cols: int
    format: FloatFormat
    first: int
    spread: int
    lowest: int
    levels: FloatClasses
    coded: NDArray[np.bool_]
    columns: FloatClasses
    gains: FloatClasses


@dataclass(frozen=True, slots=True)
class FloatPrediction:
    """What is known of a block: predicted values in order of size, contexts, which values are fresh and expected where.

    `expected` is the exponent that a fresh value is expected to have.
    """

    ordered: Ints
    context: Ints
    fresh: NDArray[np.bool_]
    expected: Ints


def read_float_plan(kind: int, rows: int, program: Program, symbols: Symbols) -> FloatPlan:
    """The plan of the next float extent: fields from `program.params`, classes from `symbols`."""
    params = program.params
    cols, layout = params.varint(MAX_FLOAT_COLS), FloatFormat(params.byte(), params.byte(), params.byte())
    if not 0 < rows <= MAX_SIDE or not cols or layout.width not in {2, 4} or not 0 < layout.mantissa < layout.top - 1:
        raise damaged("a float extent is out of range")
    first, spread, lowest = params.varint(MAX_CONTEXTS), params.varint(MAX_CONTEXTS), params.signed(MAX_LEVEL)
    if not spread or first + spread + 2 > symbols.contexts:
        raise damaged("a run of contexts is out of range")
    base, context = params.signed(MAX_LEVEL), _context(program, symbols)
    steps = symbols.small(rows, context)
    columns, gains = np.zeros(cols, np.int16), np.zeros((1, 1), np.int32)
    if kind & Flag.COLUMNS:
        columns = symbols.small(cols, _context(program, symbols))
    if kind & Flag.GAIN:
        channels = (1, cols) if kind & Flag.ACROSS else (rows, 1)
        gains = _gains(symbols.numbers(max(channels), _context(program, symbols))).reshape(channels)
    return FloatPlan(rows, cols, layout, first, spread, lowest, base + steps, steps != UNCHANGED, columns, gains)


def run_floats(
    plan: FloatPlan, old: NDArray[np.uint32] | NDArray[np.uint16] | None, symbols: Symbols, sink: Sink
) -> None:
    """Write the grid of `plan` to `sink`, predicted from the words `old` (rows, cols) or from nothing."""
    step = max(1, BLOCK_FLOATS // plan.cols)
    for start in range(0, plan.rows, step):
        rows = slice(start, min(start + step, plan.rows))
        before = np.zeros((rows.stop - start, plan.cols), np.uint32) if old is None else old[rows]
        block = predict_floats(plan, rows, before)
        made = block.ordered
        coded = np.flatnonzero(np.broadcast_to(plan.coded[rows, None], made.shape))
        made.reshape(-1)[coded] = _corrected(plan.format, block, coded, symbols)
        sink.put(_bytes_of(words_of(plan.format, made), plan.format.width))


def predict_floats(plan: FloatPlan, rows: slice, before: NDArray[np.unsignedinteger]) -> FloatPrediction:
    """What both sides know of a block of rows whose old words are `before` (rows, cols)."""
    layout = plan.format
    words = before.astype(np.int64) >> layout.shift
    size, negative = words & ((1 << layout.top) - 1), words >> layout.top
    if plan.gains.any():
        size = _scaled(size, plan.gains if len(plan.gains) == 1 else plan.gains[rows], layout)
    level, exponent = (plan.levels[rows, None] + plan.columns).astype(np.int64), size >> layout.mantissa
    context = plan.first + np.clip(level - exponent - plan.lowest, 0, plan.spread - 1)
    # What is expected to move by more than its own size says nothing of where it goes.
    zero, fresh = (size | negative) == 0, exponent < level - layout.mantissa
    context[fresh] = plan.first + plan.spread
    context[zero] = plan.first + plan.spread + 1
    return FloatPrediction(size ^ -negative, context, fresh | zero, level - layout.mantissa)


def words_of(layout: FloatFormat, ordered: Ints) -> Ints:
    """The words of values numbered in order of size: 0, 1, 2, ... from +0 up, -1, -2, ... from -0 down."""
    negative = ordered < 0
    size = np.where(negative, ~ordered, ordered)
    if size.size and int(size.max()) >> layout.top:
        raise damaged("a float is out of range")
    words: Ints = (size | negative.astype(np.int64) << layout.top) << layout.shift
    return words


def _corrected(layout: FloatFormat, block: FloatPrediction, coded: NDArray[np.intp], symbols: Symbols) -> Ints:
    """The values at the places `coded` of `block`: residuals added, or read on their own where they are fresh."""
    fresh = block.fresh.reshape(-1)[coded]
    found = symbols.read(block.context.reshape(-1)[coded].astype(np.uint8)).astype(np.int64)
    klass, second = found >> 2, (found >> 1) & 1
    if np.any(~fresh & (klass > MAX_CLASS)):
        raise damaged("a number is too large")
    low = np.where(fresh, np.where(found > 0, layout.mantissa + 1, 0), np.clip(klass - 2, 0, MAX_CLASS - 2))
    raw = symbols.raw(low)
    size = np.where(klass > 1, (2 | second) << low | raw, klass)
    moved = block.ordered.reshape(-1)[coded] + np.where(found & 1, -size, size)
    values: Ints = np.where(fresh, _fresh(layout, block.expected.reshape(-1)[coded], found, raw), moved)
    return values


def _fresh(layout: FloatFormat, expected: Ints, found: Ints, raw: Ints) -> Ints:
    """Values on their own: 0, or the step from the exponent that is expected, and raw the sign and the mantissa."""
    step = found - 1
    exponent = expected + ((step >> 1) ^ -(step & 1)) & (1 << layout.top - layout.mantissa) - 1
    size = exponent << layout.mantissa | raw & (1 << layout.mantissa) - 1
    values: Ints = np.where(found > 0, size ^ -(raw >> layout.mantissa), 0)
    return values


def _scaled(size: Ints, gains: FloatClasses, layout: FloatFormat) -> Ints:
    """Magnitudes times 1 + gains / 65536, rounded; what would leave the range of normal numbers stays."""
    exponent, one = size >> layout.mantissa, 1 << layout.mantissa
    product = (size & (one - 1) | one) * ((1 << GAIN_BITS) + gains)
    octave = (product >= one << GAIN_BITS + 1).astype(np.int64) - (product < one << GAIN_BITS)
    shift = GAIN_BITS + octave
    # The leading one of the rounded significand adds the exponent's last step.
    scaled = (exponent + octave - 1 << layout.mantissa) + ((product + (1 << shift - 1)) >> shift)
    most = (1 << layout.top - layout.mantissa) - 1
    normal = (exponent > 0) & (exponent < most) & (scaled >= one) & (scaled < most << layout.mantissa)
    return np.where(normal, scaled, size)


def _gains(numbers: NDArray[np.uint32]) -> NDArray[np.int32]:
    gains = numbers.view(np.int32)
    return np.clip(gains, -(1 << GAIN_BITS - 1), 1 << GAIN_BITS - 1, out=gains)


def _bytes_of(words: Ints, width: int) -> memoryview:
    return memoryview(words.astype(f"<u{width}").tobytes())


def _context(program: Program, symbols: Symbols) -> int:
    number = program.params.varint(MAX_CONTEXTS)
    if number >= symbols.contexts:
        raise damaged("a context is out of range")
    return number
