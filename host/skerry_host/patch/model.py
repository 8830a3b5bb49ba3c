"""The model-aware candidate: regions coded by what they are, everything else aligned as plain bytes.

With an empty layout it is the plain, bsdiff-like candidate. It does not choose between candidates.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from skerry_agent.patch.extents import MIN_PROGRAM
from skerry_agent.patch.histograms import MAX_CONTEXTS
from skerry_agent.patch.program import MAX_POOL_WORDS, MAX_PRESET, MAX_RUNS, MAX_TABLE, Origin, Shape
from skerry_agent.patch.weights import zigzag
from skerry_host.patch import preset as preset_coder
from skerry_host.patch import scattered
from skerry_host.patch.align import Aligner, Piece, Style
from skerry_host.patch.cost import group, middle
from skerry_host.patch.fit import fit_all
from skerry_host.patch.floats import FloatRegion, octaves_of
from skerry_host.patch.progress import UNSEEN, Progress
from skerry_host.patch.recorder import number_symbols
from skerry_host.patch.regions import GridRegion, Regions, VectorRegion, WordsRegion
from skerry_host.patch.sections import least_size
from skerry_host.patch.writer import Contexts, FloatContexts, Packed, TooLargeError, Writer

CLASS_GROUPS = 3
FLOAT_CLASSES, FEWEST_OCTAVES = 4, 4
SCALE_GROUPS, BIAS_GROUPS = 4, 8
TEXT_BYTES = 1 << 17  # new bytes that are always tried: labels share words with the old ones where they share no run
LITERAL_SHARE = 0.97  # of the new file: where so little is known of it, the candidate `full` says the same

Region = GridRegion | VectorRegion | WordsRegion | FloatRegion


@dataclass(frozen=True, slots=True)
class Form:
    """How many contexts grids get: levels and buckets for those predicted from old ones, levels for new ones."""

    levels: int
    buckets: int
    fresh: int


def forms(regions: Regions) -> list[Form]:
    """The forms worth trying: a histogram must earn its bytes, so few weights get few contexts."""
    if not regions.grids:
        return [Form(1, 1, 1)]
    past = sum(grid.size for grid in regions.grids if grid.source)
    fresh = sum(grid.size for grid in regions.grids if not grid.source)
    coarse = [(15, 4)] if past > 150_000 else [(8, 2)] if past > 50_000 else [(4, 1), (3, 2)]
    return [Form(*pair, 6 if fresh > 300_000 else 4 if fresh > 50_000 else 2) for pair in coarse]


@dataclass(slots=True)
class ContextAllocator:
    """Gives out the numbers of contexts."""

    used: int = 0
    shapes: list[Shape] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many more contexts a program may have."""
        return MAX_CONTEXTS - self.used

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
            spread = min(wanted, self.left - FLOAT_CLASSES)
            if spread < min(wanted, FEWEST_OCTAVES):
                raise TooLargeError("too few contexts are left for floats")
            first = self.take(spread + 2)
            contexts = FloatContexts(first, spread, lowest, self.take(1), self.take(1))
            yield from ((region, contexts) for region in alike)


@dataclass(frozen=True, slots=True)
class Room:
    """What one program may hold. Changes are counted roughly, so the loose room is tried first."""

    table: int = MAX_TABLE // 2
    changes: int = 1 << 32
    pool: int = MAX_POOL_WORDS


LOOSE, STRICT, ENDLESS = Room(), Room(changes=MAX_RUNS // 4), Room(table=1 << 32)


@dataclass(frozen=True, slots=True)
class Files:
    """The two files, what aligns their plain bytes, who is told how much is done, and what one program may hold."""

    old: bytes
    new: bytes
    aligner: Aligner
    progress: Progress = UNSEEN
    rooms: tuple[Room, ...] = (LOOSE, STRICT)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one way to code the files came to. `payload` is for version 1 of the format, None where it cannot say it.

    `lean` is the payload as version 2 has it, where several programs may follow one another. `plain` of its bytes are
    plain streams. `ideal` is the least that it could be: symbols at the entropy of their contexts, with tables and
    lanes for nothing.
    """

    payload: bytes | None
    lean: bytes
    form: Form
    plain: int
    ideal: int

    @property
    def size(self) -> int:
        """The bytes of the payload in the oldest version that has it."""
        return len(self.lean if self.payload is None else self.payload)


@dataclass(frozen=True, slots=True)
class Window:
    """A part [start, stop) of the new file, and where in the old one its first byte and the byte after it would be."""

    start: int
    stop: int
    old_at: int
    next_old_at: int


def encode_extents(files: Files, regions: Regions, form: Form, style: Style, bound: int) -> Attempt | None:
    """The payload for `regions`, fitted to `form`, in as many programs as it takes.

    None if its literal bytes alone could not come below `bound`, or if one program outgrows the format.
    """
    files.aligner.style = style
    packed: list[Packed] = []
    at, old_at = 0, 0
    while at < len(files.new) or not packed:
        window = _window(files, regions, at, old_at)
        try:
            done, window = _encode_window(files, regions, form, window, bound)
        except TooLargeError:
            return None
        if done is None or (window.stop - at < MIN_PROGRAM and window.stop < len(files.new)):
            return None
        packed.append(done)
        if window.stop == at < len(files.new):  # what comes next fits into no program
            return None
        at, old_at = window.stop, window.next_old_at
    payload = packed[0].payload if len(packed) == 1 else None
    sums = sum(part.plain for part in packed), sum(part.ideal for part in packed)
    return Attempt(payload, b"".join(part.lean for part in packed), form, *sums)


def _window(files: Files, regions: Regions, start: int, old_at: int) -> Window:
    """From `start` as far as the pool of one program suffices."""
    needed: set[int] = set()
    room = files.rooms[0].pool
    parts: list[WordsRegion | VectorRegion] = [*regions.words, *regions.pooled]
    for part in sorted(parts, key=lambda part: part.at):
        if part.at < start:
            continue
        room -= regions.words_of(part, needed)
        if room < 0:
            return Window(start, part.at, old_at, part.old_at)
    return Window(start, len(files.new), old_at, len(files.old))


def _encode_window(
    files: Files, regions: Regions, form: Form, window: Window, bound: int
) -> tuple[Packed | None, Window]:
    """The program for as much of `window` as fits into one, and what that is."""
    for room in files.rooms:
        emit = _run(files, regions, form, window, room)
        if emit.full_at is not None:  # again, without the vectors that only the rest of the window needs
            window = Window(window.start, emit.full_at[0], window.old_at, emit.full_at[1])
            emit = _run(files, regions, form, window, ENDLESS)
            if window.stop - window.start < MIN_PROGRAM:
                raise TooLargeError("a program would be too short")
        retrained = emit.literal_size > max(LITERAL_SHARE * len(files.new), TEXT_BYTES)
        if retrained or least_size(emit.literal) > bound:
            return None, window
        try:
            return emit.pack(), window
        except TooLargeError:
            if room is files.rooms[-1]:
                raise
    raise AssertionError


def _run(files: Files, regions: Regions, form: Form, window: Window, room: Room) -> "_Emitter":
    whole = window.stop - window.start == len(files.new)
    emit = _Emitter(files, regions if whole else regions.within(window.start, window.stop), form)
    emit.run(window, room)
    return emit


def fit_grids(regions: Regions, form: Form, progress: Progress) -> None:
    """Fit all grids of `regions`: those that are predicted from old ones, and new ones."""
    shapes = Shape(0, form.levels, form.buckets), Shape(0, form.fresh, 1)
    if regions.fitted == shapes:
        return
    past = [grid.fit for grid in regions.grids if grid.source]
    fresh = [grid.fit for grid in regions.grids if not grid.source]
    share = len(past) / max(1, len(regions.grids))
    fit_all(past, shapes[0], progress.part(0.0, share))
    fit_all(fresh, shapes[1], progress.part(share, 1.0))
    regions.fitted = shapes


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

    def __init__(self, files: Files, regions: Regions, form: Form) -> None:
        self._old, self._new, self._aligner, self._progress = files.old, files.new, files.aligner, files.progress
        self._writer, self._allocator, self._form = Writer(len(files.old)), ContextAllocator(), form
        _vectors(regions, self._allocator, self._writer)
        parts: list[Region] = [*regions.grids, *regions.words, *regions.pooled, *regions.floats]
        self._parts = sorted(parts, key=lambda part: part.at)
        self._anchors = sorted((at, *rest) for at, rest in regions.anchors.items())
        self._word_contexts = self._grouped_words(regions.words)
        self._grid_contexts = self._grouped_grids(regions.grids)
        self._float_contexts = {id(one): found for one, found in self._allocator.floats(regions.floats)}
        self._copied: list[tuple[int, int]] = []
        self._scattered: tuple[tuple[Shape, int], Contexts] | None = None
        self._room = LOOSE
        self.full_at: tuple[int, int] | None = None

    @property
    def literal_size(self) -> int:
        """How many bytes come from nowhere."""
        return len(self._writer.literal)

    @property
    def literal(self) -> bytes:
        """The bytes that come from nowhere."""
        return bytes(self._writer.literal)

    def run(self, window: Window, room: Room) -> None:
        """Write the extents of `window`, up to `full_at` if the writer then holds all that there is `room` for."""
        self._room = room
        at, old_at = window.start, window.old_at
        for part in self._parts:
            next_old = _old_start(part, old_at + part.at - at)
            if self._plain(at, part.at, old_at, next_old):
                return
            self._special(part)
            at, old_at = part.at + part.size, next_old + part.size
            self._progress(at / len(self._new))
        self._plain(at, window.stop, old_at, window.next_old_at)

    def pack(self) -> Packed:
        """The program."""
        return self._writer.pack(self._allocator.used, self._allocator.shapes, self.preset(), self._old)

    def preset(self) -> list[tuple[int, int]]:
        """The pieces of the old file that inserted bytes may refer to: those that nothing else used."""
        if not preset_coder.available() or not self._writer.literal:
            return []
        return _bounded(_gaps(sorted(self._copied), len(self._old)))

    def _plain(self, start: int, stop: int, old_at: int, next_old: int) -> bool:
        """Write new[start:stop], or less of it where the writer is full: then true."""
        expected = old_at
        for piece in self._pieces(start, stop, old_at, next_old):
            if self._writer.table_size > self._room.table or self._writer.changed > self._room.changes:
                self.full_at = piece.at, expected
                return True
            self._progress(piece.at / len(self._new))
            expected = (expected if piece.old_at is None else piece.old_at) + piece.end - piece.at
            if piece.old_at is None:
                self._writer.insert(self._new[piece.at : piece.end])
                continue
            self._use(piece.old_at, piece.end - piece.at)
            self._continued(piece.at, piece.end, piece.old_at)
        return False

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
        self._writer.weights(grid, *coded, (old_at, grid.new.shape[1], 1))
        if grid.new.size < end - at:
            self._continued(at + grid.new.size, end, old_at + grid.new.size)

    def _scattered_contexts(self) -> tuple[tuple[Shape, int], Contexts] | None:
        """What codes grids of scattered changes, made when first used; None if too few contexts are left."""
        if self._scattered is None and (levels := scattered.levels_in(self._allocator.left)):
            rows = self._allocator.take(1)
            self._scattered = self._allocator.shape(levels, 1), Contexts(rows, rows, rows, rows, rows)
        return self._scattered

    def _pieces(self, start: int, stop: int, old_at: int, next_old: int) -> Iterator[Piece]:
        """Yield joined pieces of new[start:stop], with grids that hardly changed as fixed points."""
        found: list[Piece] = []
        at = start
        for anchor, size, origin in self._anchors[bisect_left(self._anchors, (start,)) :]:
            if anchor >= stop:
                break
            if anchor >= at and anchor + size <= stop:
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
            rows = self._class_contexts([_level_steps(grid) for grid in chosen], 4)
            columns = self._class_contexts([grid.fit.columns for grid in chosen], 3)
            gains = self._class_contexts([grid.fit.gains for grid in chosen], 2)
            steps = [grid.fit.thresholds - middle(grid.fit.thresholds) for grid in chosen]
            thresholds = self._class_contexts(steps, 1)
            tie = self._allocator.take(1) if any(grid.fit.thresholds.any() for grid in chosen) else 0
            for grid, *found in zip(chosen, rows, columns, gains, thresholds, strict=True):
                made[id(grid)] = (shape, Contexts(found[0], found[1], found[2], found[3], tie))
        return made

    def _class_contexts(
        self, values: Iterable[np.ndarray[tuple[int, ...], np.dtype[np.int32]]], kept: int
    ) -> list[int]:
        """The context of each of `values`, in as many as leave `kept` for what comes after."""
        lists = [zigzag(grid.reshape(-1)) for grid in values]
        used = [number for number, symbols in enumerate(lists) if symbols.any()]
        groups = max(1, min(CLASS_GROUPS, self._allocator.left - kept))
        chosen = group([lists[number] for number in used], groups)
        first = self._allocator.take(max(1, max(chosen, default=-1) + 1)) if lists else 0
        contexts = dict(zip(used, chosen, strict=True))
        return [first + contexts.get(number, 0) for number in range(len(lists))]


def _level_steps(grid: GridRegion) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    coded = grid.fit.levels[grid.fit.levels >= 0]
    return grid.fit.levels - (middle(coded) if len(coded) else 0)


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
