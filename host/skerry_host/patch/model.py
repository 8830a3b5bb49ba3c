"""The model-aware candidate: regions coded by what they are, everything else aligned as plain bytes.

With an empty layout it is the plain, bsdiff-like candidate. It does not choose between candidates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_PRESET, MAX_TABLE, Origin, Shape
from skerry_agent.patch.weights import zigzag
from skerry_host.patch import preset as preset_coder
from skerry_host.patch import scattered
from skerry_host.patch.align import Aligner, Piece, Style
from skerry_host.patch.cost import group
from skerry_host.patch.fit import fit_all
from skerry_host.patch.floats import FloatRegion, octaves_of
from skerry_host.patch.recorder import number_symbols
from skerry_host.patch.regions import GridRegion, Regions, VectorRegion, WordsRegion
from skerry_host.patch.sections import lean, least_size
from skerry_host.patch.writer import Contexts, FloatContexts, TooLargeError, Writer

CLASS_GROUPS = 3
FLOAT_CLASSES, FEWEST_OCTAVES = 4, 4
SCALE_GROUPS, BIAS_GROUPS = 4, 8

Region = GridRegion | VectorRegion | WordsRegion | FloatRegion


@dataclass(frozen=True, slots=True)
class Form:
    """How many contexts grids get: levels and buckets for those predicted from old ones, levels for new ones."""

    levels: int
    buckets: int
    fresh: int


def forms(regions: Regions) -> list[Form]:
    """The forms worth trying: a histogram must earn its bytes, so few weights get few contexts."""
    past = sum(grid.size for grid in regions.grids if grid.source)
    fresh = sum(grid.size for grid in regions.grids if not grid.source)
    coarse = [(15, 4)] if past > 150_000 else [(8, 2)] if past > 50_000 else [(4, 1), (3, 2)]
    return [Form(*pair, 6 if fresh > 300_000 else 4 if fresh > 50_000 else 2) for pair in coarse]


@dataclass(slots=True)
class ContextAllocator:
    """Gives out the numbers of contexts."""

    used: int = 0
    shapes: list[Shape] = field(default_factory=list)

    def take(self, count: int) -> int:
        """The first of `count` new contexts."""
        self.used += count
        return self.used - count

    def shape(self, levels: int, buckets: int) -> tuple[Shape, int]:
        """A new run of contexts and its number."""
        self.shapes.append(Shape(self.take(levels * buckets), levels, buckets))
        return self.shapes[-1], len(self.shapes) - 1

    def floats(self, regions: list[FloatRegion]) -> Iterator[tuple[FloatRegion, FloatContexts]]:
        """Yield the contexts of each region, shared by those of one format. Raises `TooLargeError`."""
        for layout in dict.fromkeys(region.fit.format for region in regions):
            alike = [region for region in regions if region.fit.format == layout]
            lowest, wanted = octaves_of(alike)
            spread = min(wanted, MAX_CONTEXTS - self.used - FLOAT_CLASSES)
            if spread < min(wanted, FEWEST_OCTAVES):
                raise TooLargeError("too few contexts are left for floats")
            first = self.take(spread + 2)
            contexts = FloatContexts(first, spread, lowest, self.take(1), self.take(1))
            yield from ((region, contexts) for region in alike)


@dataclass(frozen=True, slots=True)
class Files:
    """The two files and what aligns their plain bytes."""

    old: bytes
    new: bytes
    aligner: Aligner


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payload, the form of its grids, how many of its bytes are plain streams, and the least that it could be.

    `ideal` counts symbols at the entropy of their contexts, with tables and lanes for nothing. `lean` is the payload
    as version 2 of the format has it.
    """

    payload: bytes
    lean: bytes
    form: Form
    plain: int
    ideal: int


def encode_extents(files: Files, regions: Regions, form: Form, style: Style, bound: int) -> Attempt | None:
    """The payload for `regions`, fitted to `form`.

    None if its table outgrows the format, or its literal bytes alone could not come below `bound`.
    """
    allocator, writer = ContextAllocator(), Writer(len(files.old))
    files.aligner.style = style
    _vectors(regions, allocator, writer)
    try:
        emit = _Emitter(files, regions, allocator, writer, form)
    except TooLargeError:
        return None
    emit.run()
    table = sum(map(len, (writer.kinds, writer.sizes, writer.seeks, writer.params, writer.vectors)))
    if table > MAX_TABLE // 2:
        return None
    if least_size(bytes(writer.literal)) > bound:
        return None
    try:
        packed = writer.pack(allocator.used, allocator.shapes, emit.preset(), files.old)
    except TooLargeError:
        return None
    payloads = (b"".join(packed.sections) + packed.words, lean(packed.sections) + packed.words)
    return Attempt(*payloads, form, packed.plain, packed.ideal)


def fit_grids(regions: Regions, form: Form) -> None:
    """Fit all grids of `regions`: those that are predicted from old ones, and new ones."""
    fit_all([grid.fit for grid in regions.grids if grid.source], Shape(0, form.levels, form.buckets))
    fit_all([grid.fit for grid in regions.grids if not grid.source], Shape(0, form.fresh, 1))


def _vectors(regions: Regions, allocator: ContextAllocator, writer: Writer) -> None:
    coded = [plan for plan in regions.vectors if plan.origin in {Origin.RESIDUAL, Origin.GRID}]
    chosen = group([number_symbols(plan.values)[0] for plan in coded], SCALE_GROUPS)
    first = allocator.take(max(chosen, default=-1) + 1)
    contexts = dict(zip(map(id, coded), chosen, strict=True))
    for number, plan in enumerate(regions.vectors):
        tail: tuple[int, ...] = ()
        if plan.factors is not None:
            tail = number - plan.factors[0], number - plan.factors[1]
        elif id(plan) in contexts:
            context = first + contexts[id(plan)]
            tail = (context,)
            writer.recorder.numbers(plan.values, context)
        writer.vector(plan.origin, plan.old.count, plan.old.at, tail)


class _Emitter:
    """Walks the new file from start to end and writes an extent for each part."""

    def __init__(self, files: Files, regions: Regions, allocator: ContextAllocator, writer: Writer, form: Form) -> None:
        self._old, self._new, self._aligner = files.old, files.new, files.aligner
        self._writer, self._allocator, self._form = writer, allocator, form
        parts: list[Region] = [*regions.grids, *regions.words, *regions.pooled, *regions.floats]
        self._parts = sorted(parts, key=lambda part: part.at)
        self._anchors = sorted((at, *rest) for at, rest in regions.anchors.items())
        self._word_contexts = self._grouped_words(regions.words)
        self._grid_contexts = self._grouped_grids(regions.grids)
        self._float_contexts = {id(one): found for one, found in allocator.floats(regions.floats)}
        self._copied: list[tuple[int, int]] = []
        self._scattered: tuple[tuple[Shape, int], Contexts] | None = None

    def run(self) -> None:
        """Write all extents."""
        at, old_at = 0, 0
        for part in self._parts:
            next_old = _old_start(part, old_at + part.at - at)
            self._plain(at, part.at, old_at, next_old)
            self._special(part)
            at, old_at = part.at + part.size, next_old + part.size
        self._plain(at, len(self._new), old_at, len(self._old))

    def preset(self) -> list[tuple[int, int]]:
        """The pieces of the old file that inserted bytes may refer to: those that nothing else used."""
        if not preset_coder.available() or not self._writer.literal:
            return []
        return _bounded(_gaps(sorted(self._copied), len(self._old)))

    def _plain(self, start: int, stop: int, old_at: int, next_old: int) -> None:
        for piece in self._pieces(start, stop, old_at, next_old):
            if piece.old_at is None:
                self._writer.insert(self._new[piece.at : piece.end])
                continue
            self._use(piece.old_at, piece.end - piece.at)
            self._continued(piece.at, piece.end, piece.old_at)

    def _continued(self, at: int, end: int, old_at: int) -> None:
        """Old bytes with or without changes."""
        if self._old[old_at : old_at + end - at] == self._new[at:end]:
            self._writer.copy(old_at, end - at)
            return
        before = np.frombuffer(self._old, np.uint8, end - at, old_at)
        after = np.frombuffer(self._new, np.uint8, end - at, at)
        grid = scattered.as_grid(before, after)
        if grid is None or (coded := self._scattered_contexts()) is None:
            self._writer.add(old_at, after - before)
            return
        self._writer.weights(grid, *coded, (old_at, scattered.COLS, 1))
        if grid.new.size < end - at:
            self._continued(at + grid.new.size, end, old_at + grid.new.size)

    def _scattered_contexts(self) -> tuple[tuple[Shape, int], Contexts] | None:
        """What codes grids of scattered changes, made when first used; None if too few contexts are left."""
        if self._scattered is None and (levels := scattered.levels_in(MAX_CONTEXTS - self._allocator.used)):
            rows = self._allocator.take(1)
            self._scattered = self._allocator.shape(levels, 1), Contexts(rows, rows, rows, rows, rows)
        return self._scattered

    def _pieces(self, start: int, stop: int, old_at: int, next_old: int) -> Iterator[Piece]:
        """Yield joined pieces of new[start:stop], with grids that hardly changed as fixed points."""
        found: list[Piece] = []
        at = start
        for anchor, size, origin in self._anchors:
            if start <= anchor and anchor + size <= stop and anchor >= at:
                found += self._aligner.pieces(at, anchor, old_at, origin)
                found.append(Piece(anchor, anchor + size, origin))
                at, old_at = anchor + size, origin + size
        found += self._aligner.pieces(at, stop, old_at, next_old)
        return _joined(found)

    def _special(self, part: Region) -> None:
        match part:
            case GridRegion():
                number = id(part)
                shape, contexts = self._grid_contexts[number]
                self._writer.weights(part.fit, shape, contexts, part.source)
                if part.source:
                    self._use(part.source[0], part.size)
            case VectorRegion():
                self._use(part.old_at, part.size)
                self._writer.pool(part.number, part.size // 4)
            case FloatRegion():
                self._writer.floats(part, self._float_contexts[id(part)])
                if part.old_at is not None:
                    self._use(part.old_at, part.size)
            case WordsRegion():
                self._use(part.old_at, part.size)
                self._writer.words(part.values, self._word_contexts[id(part)], part.old_at, part.vector)

    def _use(self, old_at: int, size: int) -> None:
        self._copied.append((old_at, old_at + size))

    def _grouped_words(self, words: list[WordsRegion]) -> dict[int, int]:
        chosen = group([number_symbols(part.values)[0] for part in words], BIAS_GROUPS)
        first = self._allocator.take(max(chosen, default=-1) + 1)
        return {id(part): first + number for part, number in zip(words, chosen, strict=True)}

    def _grouped_grids(self, grids: list[GridRegion]) -> dict[int, tuple[tuple[Shape, int], Contexts]]:
        made: dict[int, tuple[tuple[Shape, int], Contexts]] = {}
        for past in (True, False):
            chosen = [grid for grid in grids if bool(grid.source) is past]
            if not chosen:
                continue
            shape = self._allocator.shape(*((self._form.levels, self._form.buckets) if past else (self._form.fresh, 1)))
            rows = self._class_contexts([_level_steps(grid) for grid in chosen])
            columns = self._class_contexts([grid.fit.columns for grid in chosen])
            gains = self._class_contexts([grid.fit.gains for grid in chosen])
            steps = [grid.fit.thresholds - int(np.median(grid.fit.thresholds)) for grid in chosen]
            thresholds = self._class_contexts(steps)
            tie = self._allocator.take(1) if any(grid.fit.thresholds.any() for grid in chosen) else 0
            for grid, *found in zip(chosen, rows, columns, gains, thresholds, strict=True):
                made[id(grid)] = (shape, Contexts(found[0], found[1], found[2], found[3], tie))
        return made

    def _class_contexts(self, values: Iterable[np.ndarray[tuple[int, ...], np.dtype[np.int32]]]) -> list[int]:
        lists = [zigzag(grid.reshape(-1)) for grid in values]
        used = [number for number, symbols in enumerate(lists) if symbols.any()]
        chosen = group([lists[number] for number in used], CLASS_GROUPS)
        first = self._allocator.take(max(1, max(chosen, default=-1) + 1)) if lists else 0
        contexts = dict(zip(used, chosen, strict=True))
        return [first + contexts.get(number, 0) for number in range(len(lists))]


def _level_steps(grid: GridRegion) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    coded = grid.fit.levels[grid.fit.levels >= 0]
    return grid.fit.levels - (int(np.median(coded)) if len(coded) else 0)


def _old_start(part: Region, expected: int) -> int:
    if isinstance(part, GridRegion):
        return part.source[0] if part.source else expected
    if isinstance(part, FloatRegion):
        return expected if part.old_at is None else part.old_at
    return part.old_at


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    last: Piece | None = None
    for piece in pieces:
        if piece.at == piece.end:
            continue
        if last and _continues(last, piece):
            last = Piece(last.at, piece.end, last.old_at)
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


def _continues(last: Piece, piece: Piece) -> bool:
    if last.old_at is None or piece.old_at is None:
        return last.old_at is piece.old_at
    return last.old_at + last.end - last.at == piece.old_at


def _gaps(used: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in used:
        if start > at:
            yield at, start - at
        at = max(at, end)
    if at < size:
        yield at, size - at


def _bounded(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    kept, room = [], MAX_PRESET
    for at, size in pieces:
        if size >= 48:
            kept.append((at, min(size, room)))
            room -= kept[-1][1]
        if not room:
            break
    return kept
