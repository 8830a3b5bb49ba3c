"""Codecs `bsdiff` and `model`: runs a program of extents over the old file, in the order of the new one.

Every extent is checked against the bounds of the old file, its streams and the promised size before it runs. It knows
nothing of tensors.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.floats import read_float_plan, run_floats
from skerry_agent.patch.pool import Pooled, Words, make_pool, rescaled, words_at
from skerry_agent.patch.program import KIND_MASK, MAX_CHANGED, MAX_RUNS, MAX_TABLE, Flag, Kind, Program, parse_program
from skerry_agent.patch.rans import Decoder, Rounds
from skerry_agent.patch.reader import MAX_VARINT, Reader, all_varints
from skerry_agent.patch.section import STORED, Section
from skerry_agent.patch.sink import BLOCK, Sink
from skerry_agent.patch.symbols import MAX_NUMBERS, Symbols
from skerry_agent.patch.weights import read_plan, run_weights

ALL_PRESENT = 0b11111  # sections after the table: runs, diff, literal, escapes, bits
EMPTY_SECTION = bytes([STORED, 0])
MIN_ROUNDS = 1 << 14  # of the symbol decoder, plus one for every 16 bytes of the result: bounds the time
MIN_PROGRAM = 1 << 16  # bytes that each program but the last makes: bounds what their tables cost


def apply_extents(old: memoryview, reader: Reader, sink: Sink, version: int = 1) -> None:
    """Run the payload at `reader`, of a version of the format, until its last program ends. Raises `PatchError`.

    Version 1 has one program. In version 2 programs follow one another until the result is complete: each has a table,
    streams and symbols of its own, and all share the bound of the symbol decoder's rounds.
    """
    rounds = Rounds(MIN_ROUNDS + sink.left // 16)
    before = sink.left
    _run_program(old, reader, sink, version, rounds)
    while version > 1 and sink.left:
        if before - sink.left < MIN_PROGRAM:
            raise damaged("a program that is not the last makes few bytes")
        before = sink.left
        _run_program(old, reader, sink, version, rounds)


def _run_program(old: memoryview, reader: Reader, sink: Sink, version: int, rounds: Rounds) -> None:
    present = ALL_PRESENT if version == 1 else reader.byte()
    if present > ALL_PRESENT:
        raise damaged("it has a section of no known use")
    program = parse_program(_whole(Section(reader, MAX_TABLE)), len(old))
    if version == 1 and any(kind & KIND_MASK == Kind.FLOATS for kind in program.kinds):
        raise damaged("an extent is of no kind that its format version has")
    _Machine(old, program, Sections(reader, present), sink, rounds).run()


class Sections:
    """The sections after the table, in order; in version 2 those without contents are left out."""

    def __init__(self, reader: Reader, present: int) -> None:
        self.reader = reader
        self._present = present

    def next(self, limit: int = MAX_VARINT, preset: Sequence[memoryview] = ()) -> Section:
        """The next section, empty where it was left out."""
        present, self._present = self._present & 1, self._present >> 1
        return Section(self.reader if present else Reader(EMPTY_SECTION), limit, preset)


def _whole(section: Section) -> bytes:
    data = section.read(section.left)
    section.finish()
    return data


class _Machine:
    """The state of one run: where the last old byte was read, and the open streams."""

    def __init__(self, old: memoryview, program: Program, sections: Sections, sink: Sink, rounds: Rounds) -> None:
        self._old = old
        self._program = program
        self._sink = sink
        self._cursor = 0
        self._vector = 0
        self._runs = Reader(_whole(sections.next(MAX_RUNS)))
        self._diff = sections.next()
        self._literal = sections.next(preset=[old[at : at + size] for at, size in program.preset])
        escapes, bits, coded = sections.next(), sections.next(), sections.reader
        decoder = Decoder(program.codes, coded, rounds) if len(program.codes) else None
        self._symbols = Symbols(decoder, escapes, bits)
        self._pool: list[Pooled] = make_pool(program.vectors, old, self._symbols)

    def run(self) -> None:
        """Run every extent, then check that every stream is used up."""
        for kind in self._program.kinds:
            self._extent(kind)
        for stream in (self._diff, self._literal, self._symbols):
            stream.finish()
        fields = (self._runs, self._program.sizes, self._program.seeks, self._program.params)
        if any(reader.left for reader in fields):
            raise damaged("fields follow the last extent")

    def _extent(self, kind: int) -> None:
        size = self._program.sizes.varint(MAX_VARINT)
        before = self._sink.left
        self._perform(kind, size)
        if self._sink.left == before:
            raise damaged("an extent produces no bytes")

    def _perform(self, kind: int, size: int) -> None:
        match kind & KIND_MASK:
            case Kind.COPY:
                self._copy(size)
            case Kind.ADD:
                self._add(size)
            case Kind.LITERAL:
                self._pass_on(size)
            case Kind.POOL:
                self._emit(size)
            case Kind.WEIGHTS | Kind.STRIDED:
                self._weights(kind, size)
            case Kind.WORDS:
                self._words(kind, size)
            case Kind.FLOATS:
                self._floats(kind, size)

    def _seek(self, size: int) -> int:
        start = self._cursor + self._program.seeks.signed()
        if start < 0 or start + size > len(self._old):
            raise damaged("an extent reads outside the base")
        self._cursor = start + size
        return start

    def _copy(self, size: int) -> None:
        start = self._seek(size)
        for at in range(start, start + size, BLOCK):
            self._sink.put(self._old[at : min(at + BLOCK, start + size)])

    def _add(self, size: int) -> None:
        start = self._seek(size)
        places = self._changed(size)
        change = np.frombuffer(self._diff.read(len(places)), dtype=np.uint8)
        for at in range(0, size, BLOCK):
            block = np.frombuffer(self._old[start + at : start + min(at + BLOCK, size)], dtype=np.uint8).copy()
            inside = slice(*np.searchsorted(places, (at, at + BLOCK)))
            block[places[inside] - at] += change[inside]
            self._sink.put(block.data)

    def _changed(self, size: int) -> NDArray[np.int64]:
        """The places, ascending, that the next runs of an ADD extent of `size` bytes change."""
        runs = all_varints(self._runs.take(self._runs.varint(self._runs.left))).astype(np.int64)
        if len(runs) % 2:
            raise damaged("a run of changes has no length")
        gaps, counts = runs[::2], runs[1::2]
        ends = np.cumsum(gaps + counts)
        total = int(counts.sum())
        if total > MAX_CHANGED or (len(ends) and int(ends[-1]) > size):
            raise damaged("the changes of an extent are out of range")
        return np.repeat(ends - np.cumsum(counts), counts) + np.arange(total)

    def _pass_on(self, size: int) -> None:
        for at in range(0, size, BLOCK):
            self._sink.put(self._literal.read(min(BLOCK, size - at)))

    def _emit(self, size: int) -> None:
        words = self._pooled(size).new
        self._cursor += 4 * len(words)
        self._sink.put(_bytes_of(words))

    def _pooled(self, ahead: int) -> Pooled:
        # Vectors are used nearly in order: the field is how far to move from the one after the last, as zigzag.
        number = self._vector + (-(ahead + 1 >> 1) if ahead & 1 else ahead >> 1)
        if not 0 <= number < len(self._pool):
            raise damaged("a vector is out of range")
        self._vector = number + 1
        return self._pool[number]

    def _weights(self, kind: int, rows: int) -> None:
        plan = read_plan(kind, rows, self._program, self._symbols)
        if plan.rows * plan.cols > self._sink.left:
            raise damaged("a weight extent is longer than what is left")
        before = self._grid(kind, plan.rows, plan.cols) if kind & Flag.OLD else None
        run_weights(plan, before, self._symbols, self._sink)

    def _grid(self, kind: int, rows: int, cols: int) -> NDArray[np.uint8]:
        start = self._seek(rows * cols)
        strides = (cols, 1)
        if kind & KIND_MASK == Kind.STRIDED:
            strides = self._program.params.varint(), self._program.params.varint()
        if start + (rows - 1) * strides[0] + (cols - 1) * strides[1] >= len(self._old):
            raise damaged("a strided extent reads outside the base")
        return np.ndarray((rows, cols), np.uint8, self._old, start, strides)

    def _words(self, kind: int, count: int) -> None:
        context = self._program.params.varint(max(0, self._symbols.contexts - 1))
        vector = self._pooled(self._program.params.varint()) if kind & Flag.RESCALED else None
        start = self._seek(4 * count)
        for at in range(0, count, MAX_NUMBERS):
            part = slice(at, min(at + MAX_NUMBERS, count))
            before = words_at(self._old, start + 4 * at, part.stop - at)
            if vector is not None:
                before = _moved(before, vector, part)
            self._sink.put(_bytes_of(before + self._symbols.numbers(part.stop - at, context)))

    def _floats(self, kind: int, rows: int) -> None:
        plan = read_float_plan(kind, rows, self._program, self._symbols)
        size = plan.rows * plan.cols * plan.format.width
        if size > self._sink.left:
            raise damaged("a float extent is longer than what is left")
        before = None
        if kind & Flag.OLD:
            start = self._seek(size)
            before = np.ndarray((plan.rows, plan.cols), f"<u{plan.format.width}", self._old, start)
        run_floats(plan, before, self._symbols, self._sink)


def _moved(before: Words, vector: Pooled, part: slice) -> Words:
    scales = [words if len(words) == 1 else words[part] for words in (vector.old, vector.new)]
    if any(len(words) not in {1, len(before)} for words in scales):
        raise damaged("a vector has another length than what it rescales")
    return rescaled(before, *scales)


def _bytes_of(words: Words) -> memoryview:
    return words.astype("<u4", copy=False).view(np.uint8).data
