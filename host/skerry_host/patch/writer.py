"""Writes the program of an extent payload: the table, the byte streams and the coded symbols.

It is told what to write; choosing is done elsewhere. Layout: docs/patch-format.md.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.container import pack_varint
from skerry_agent.patch.floats import UNCHANGED, predict_floats
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_CHANGED, MAX_PRESET, MAX_RUNS, MAX_SIDE, Flag, Kind, Origin, Shape
from skerry_agent.patch.weights import BLOCK_WEIGHTS, predict
from skerry_host.patch.changes import JOINS, Changes
from skerry_host.patch.cost import middle
from skerry_host.patch.floats import FloatRegion, symbols_of_floats
from skerry_host.patch.grid import Fit, symbols_of
from skerry_host.patch.recorder import Recorder
from skerry_host.patch.sections import estimated_size, leave_out_empty, pack_section, pack_stored


class TooLargeError(ValueError):
    """The program would exceed a limit of the format, so this candidate does not exist."""


def pack_signed(value: int) -> bytes:
    """`value` as a zigzag base-128 integer."""
    return pack_varint(-2 * value - 1 if value < 0 else 2 * value)


@dataclass(frozen=True, slots=True)
class Contexts:
    """Which context codes the classes of one weight grid."""

    rows: int
    columns: int
    gains: int
    thresholds: int
    ties: int


@dataclass(frozen=True, slots=True)
class FloatContexts:
    """Which contexts code grids of floats of one format: `spread` of them from `first`, two more, and those of classes.

    The first is for changes of `lowest` octaves in units of the last place.
    """

    first: int
    spread: int
    lowest: int
    rows: int
    gains: int


@dataclass(frozen=True, slots=True)
class Packed:
    """The sections and coded symbols of a payload, the size of its plain streams, the least it could be (`Attempt`)."""

    sections: tuple[bytes, ...]
    words: bytes
    plain: int
    ideal: int

    @property
    def payload(self) -> bytes:
        """The program as version 1 of the format has it."""
        return b"".join(self.sections) + self.words

    @property
    def lean(self) -> bytes:
        """The program as version 2 has it."""
        return leave_out_empty(self.sections) + self.words


@dataclass(slots=True)
class Writer:
    """Appends vectors and extents; `payload` then packs them."""

    old_size: int
    recorder: Recorder = field(default_factory=Recorder)
    kinds: bytearray = field(default_factory=bytearray)
    sizes: bytearray = field(default_factory=bytearray)
    seeks: bytearray = field(default_factory=bytearray)
    params: bytearray = field(default_factory=bytearray)
    changes: Changes = field(default_factory=Changes)
    literal: bytearray = field(default_factory=bytearray)
    vectors: bytearray = field(default_factory=bytearray)
    vector_count: int = 0
    _vector_at: int = 0
    _cursor: int = 0
    _next_vector: int = 0

    @property
    def table_size(self) -> int:
        """About how many bytes the table has so far."""
        return sum(map(len, (self.kinds, self.sizes, self.seeks, self.params, self.vectors)))

    @property
    def changed(self) -> int:
        """How many bytes ADD extents change so far."""
        return self.changes.count

    def vector(self, origin: Origin, count: int, old_at: int, tail: tuple[int, ...]) -> int:
        """Append a pool vector whose `tail` is its context, or how far back its factors are; return its number."""
        self.vectors += bytes([origin]) + pack_varint(count)
        self.vectors += pack_signed(old_at - self._vector_at)
        self._vector_at = old_at + 4 * count
        self.vectors += b"".join(map(pack_varint, tail))
        self.vector_count += 1
        return self.vector_count - 1

    def copy(self, old_at: int, size: int) -> None:
        """Append a run of old bytes."""
        self._open(Kind.COPY, size)
        self._seek(old_at, size)

    def add(self, old_at: int, change: NDArray[np.uint8]) -> None:
        """Append a run of old bytes to each of which a byte is added, in as many extents as the format asks for."""
        places = np.flatnonzero(change)
        cuts = [*(int(place) for place in places[MAX_CHANGED // JOINS[-1] :: MAX_CHANGED // JOINS[-1]]), len(change)]
        for start, end in pairwise([0, *cuts]):
            self._open(Kind.ADD, end - start)
            self._seek(old_at + start, end - start)
            inside = places[slice(*np.searchsorted(places, (start, end)))]
            self.changes.add(inside - start, change[inside])

    def insert(self, data: bytes) -> None:
        """Append bytes of its own."""
        self._open(Kind.LITERAL, len(data))
        self.literal += data

    def pool(self, number: int, count: int) -> None:
        """Append the words of a pool vector."""
        self.kinds.append(Kind.POOL)
        self.sizes += self._ahead(number)
        self._cursor += 4 * count

    def words(self, values: NDArray[np.int64], context: int, old_at: int, vector: int | None) -> None:
        """Append words as numbers `values` against the old ones, rescaled if a `vector` of scales is given."""
        self._open(Kind.WORDS | (Flag.RESCALED if vector is not None else 0), len(values))
        self.params += pack_varint(context)
        if vector is not None:
            self.params += self._ahead(vector)
        self._seek(old_at, 4 * len(values))
        self.recorder.numbers(values, context)

    def weights(
        self, fit: Fit, shapes: tuple[Shape, int], contexts: Contexts, source: tuple[int, int, int] | None
    ) -> None:
        """Append a weight grid. `source` is (offset, row stride, column stride) in the old file."""
        for start in range(0, len(fit.new), MAX_SIDE):
            moved = (source[0] + start * source[1], *source[1:]) if source else None
            self._weights(fit.rows(start, start + MAX_SIDE), shapes, contexts, moved)

    def _weights(
        self, fit: Fit, shapes: tuple[Shape, int], contexts: Contexts, source: tuple[int, int, int] | None
    ) -> None:
        shape, number = shapes
        flags = _flags(fit, source)
        rows, cols = fit.new.shape
        strided = source is not None and source[1:] != (cols, 1)
        self._open((Kind.STRIDED if strided else Kind.WEIGHTS) | flags, rows)
        self.params += pack_varint(cols) + pack_varint(number)
        self._classes(fit, flags, contexts)
        if source is not None:
            self._seek(source[0], rows * cols)
        if strided and source is not None:
            self.params += pack_varint(source[1]) + pack_varint(source[2])
        self._residuals(fit, shape, contexts.ties)

    def floats(self, region: FloatRegion, contexts: FloatContexts) -> None:
        """Append a grid of floats."""
        fit, layout = region.fit, region.fit.format
        rows, cols = fit.new.shape
        flags = (Flag.OLD if fit.old is not None else 0) | (Flag.COLUMNS if fit.columns.any() else 0)
        flags |= (Flag.GAIN if fit.gains.any() else 0) | (Flag.ACROSS if fit.across else 0)
        self._open(Kind.FLOATS | flags, rows)
        self.params += pack_varint(cols) + bytes([layout.width, layout.mantissa, layout.shift])
        self.params += pack_varint(contexts.first) + pack_varint(contexts.spread)
        self.params += pack_signed(contexts.lowest)
        plan = fit.plan(contexts.first, contexts.spread, contexts.lowest)
        base = middle(plan.levels)
        self.params += pack_signed(base) + pack_varint(contexts.rows)
        self.recorder.small(np.where(fit.unchanged, UNCHANGED, plan.levels - base).astype(np.int32), contexts.rows)
        if flags & Flag.COLUMNS:
            self.params += pack_varint(contexts.rows)
            self.recorder.small(fit.columns.astype(np.int32), contexts.rows)
        if flags & Flag.GAIN:
            self.params += pack_varint(contexts.gains)
            self.recorder.numbers(fit.gains.reshape(-1), contexts.gains)
        if region.old_at is not None:
            self._seek(region.old_at, region.size)
        for block in fit.blocks():
            predicted = predict_floats(plan, block, fit.before[block])
            coded = np.repeat(plan.coded[block], cols)
            made = symbols_of_floats(layout, predicted, fit.new[block])
            self.recorder.symbols(predicted.context.reshape(-1)[coded], made.symbols[coded])
            self.recorder.low.append((made.low[coded], made.lengths[coded]))

    def pack(self, contexts: int, shapes: list[Shape], preset: list[tuple[int, int]], old: bytes) -> Packed:
        """Everything packed."""
        if contexts > MAX_CONTEXTS:
            raise TooLargeError("too many contexts")
        coded = self.recorder.code(contexts)
        table = coded.shapes + pack_varint(len(shapes))
        for shape in shapes:
            table += b"".join(map(pack_varint, (shape.first, shape.levels, shape.buckets)))
        table += _preset_table(preset) + pack_varint(self.vector_count) + bytes(self.vectors)
        for stream in (self.kinds, self.sizes, self.seeks):
            table += pack_varint(len(stream)) + bytes(stream)
        known = b"".join(old[at : at + size] for at, size in preset)
        tries = [self.changes.pack(join) for join in JOINS]
        runs, diff = min(tries, key=lambda streams: estimated_size(streams[0]) + estimated_size(streams[1]))
        if len(runs) > MAX_RUNS:
            raise TooLargeError("too many scattered changes")
        # Of what is open at a time beside the decoder's tables one section may have a large dictionary: literal.
        plain = pack_section(runs), pack_section(diff, lean=contexts > 0), pack_section(bytes(self.literal), known)
        size = sum(map(len, plain))
        ideal = size + len(coded.escapes) + len(coded.bits) + round(coded.entropy)
        head = pack_section(table + bytes(self.params))
        rest = pack_section(coded.escapes, lean=True), pack_stored(coded.bits)
        return Packed((head, *plain, *rest), coded.words, size, ideal)

    def _open(self, kind: int, size: int) -> None:
        self.kinds.append(kind)
        self.sizes += pack_varint(size)

    def _seek(self, old_at: int, size: int) -> None:
        self.seeks += pack_signed(old_at - self._cursor)
        self._cursor = old_at + size

    def _ahead(self, number: int) -> bytes:
        step = pack_signed(number - self._next_vector)
        self._next_vector = number + 1
        return step

    def _classes(self, fit: Fit, flags: int, contexts: Contexts) -> None:
        self.params.append(fit.zero)
        coded = fit.levels[fit.levels >= 0]
        base = middle(coded) if len(coded) else 0
        self.params += pack_signed(base) + pack_varint(contexts.rows)
        self.recorder.small(fit.levels - base, contexts.rows)
        if flags & Flag.COLUMNS:
            self.params += pack_varint(contexts.columns)
            self.recorder.small(fit.columns, contexts.columns)
        if flags & Flag.GAIN:
            self.params += pack_varint(contexts.gains)
            self.recorder.small(fit.gains.reshape(-1), contexts.gains)
        if flags & Flag.PRUNE:
            centre = middle(fit.thresholds)
            self.params += bytes([centre]) + pack_varint(contexts.thresholds) + pack_varint(contexts.ties)
            self.recorder.small(fit.thresholds.reshape(-1) - centre, contexts.thresholds)

    def _residuals(self, fit: Fit, shape: Shape, tie_context: int) -> None:
        plan = fit.plan(shape, tie_context)
        step = max(1, BLOCK_WEIGHTS // plan.cols)
        for start in range(0, plan.rows, step):
            rows = slice(start, min(start + step, plan.rows))
            block = predict(plan, rows, fit.before[rows])
            symbols = symbols_of(block, fit.new[rows], fit.zero)
            self.recorder.symbols(block.context[block.coded], symbols[block.coded])


def _flags(fit: Fit, source: tuple[int, int, int] | None) -> int:
    flags = Flag.OLD if source is not None else 0
    flags |= Flag.COLUMNS if fit.columns.any() else 0
    flags |= Flag.GAIN if fit.gains.any() else 0
    flags |= Flag.PRUNE if fit.thresholds.any() else 0
    return flags | (Flag.ACROSS if fit.across else 0)


def _preset_table(preset: list[tuple[int, int]]) -> bytes:
    table, at = pack_varint(len(preset)), 0
    for start, size in preset:
        table += pack_signed(start - at) + pack_varint(size)
        at = start + size
    assert sum(size for _, size in preset) <= MAX_PRESET
    return table
