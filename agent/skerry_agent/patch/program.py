"""The parsed head of an extent payload: what is coded where. It moves no bytes of either file.

Everything that sizes an allocation is checked here against a fixed limit. Layout in docs/patch-format.md.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.histograms import ESCAPE, MAX_CONTEXTS, Follow, parse_codes
from skerry_agent.patch.reader import Reader

MAX_TABLE: Final = 1 << 18
MAX_RUNS: Final = 1 << 18
MAX_CHANGED: Final = 1 << 15  # bytes that one ADD extent changes
MAX_PRESET: Final = 1 << 19
MAX_POOL_WORDS: Final = 1 << 17
MAX_SIDE: Final = 1 << 16  # rows or columns of one extent
KIND_MASK: Final = 7


class Kind(IntEnum):
    """What an extent does, the low three bits of its kind byte."""

    COPY = 0
    ADD = 1
    LITERAL = 2
    POOL = 3
    WEIGHTS = 4
    STRIDED = 5
    WORDS = 6
    FLOATS = 7


class Flag(IntEnum):
    """How extents predict, in the high five bits of the kind byte. WORDS has one flag, FLOATS all but PRUNE."""

    OLD = 8
    COLUMNS = 16
    GAIN = 32
    PRUNE = 64
    ACROSS = 128
    RESCALED = 8


class Origin(IntEnum):
    """How a vector of the pool is made."""

    SAME = 0
    RESIDUAL = 1
    GRID = 2
    DERIVED = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """A run of contexts: `levels` of spread, each with `buckets` for the fraction that a gain leaves."""

    first: int
    levels: int
    buckets: int


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of 32-bit words of the pool: how it is made, where its old words lie and what else it needs."""

    origin: Origin
    count: int
    old_at: int
    context: int
    factors: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Program:
    """The head of an extent payload. `kinds` is one byte an extent; its fields are read from the three readers."""

    codes: NDArray[np.uint8]
    shapes: list[Shape]
    preset: list[tuple[int, int]]
    vectors: list[Vector]
    kinds: memoryview
    sizes: Reader
    seeks: Reader
    params: Reader


def parse_program(table: bytes, old_size: int) -> Program:
    """The program that `table` holds. Raises `PatchError('damaged')`."""
    reader = Reader(table)
    codes = _codes(reader)
    shapes = [_shape(reader, len(codes)) for _ in range(reader.varint(MAX_CONTEXTS))]
    preset = _preset(reader, old_size)
    vectors = _vectors(reader, old_size, len(codes))
    kinds = reader.take(reader.varint(reader.left))
    sizes = Reader(reader.take(reader.varint(reader.left)))
    seeks = Reader(reader.take(reader.varint(reader.left)))
    return Program(codes, shapes, preset, vectors, kinds, sizes, seeks, Reader(reader.take(reader.left)))


def _codes(reader: Reader) -> NDArray[np.uint8]:
    contexts = reader.varint(MAX_CONTEXTS)
    if not contexts:
        return np.zeros((0, 256), np.uint8)
    symbols, follow = reader.varint(ESCAPE), Follow(reader.varint(len(Follow) - 1))
    return parse_codes(bytes(reader.take(contexts * (symbols + 1))), contexts, symbols, follow)


def _shape(reader: Reader, contexts: int) -> Shape:
    first, levels, buckets = (reader.varint(MAX_CONTEXTS) for _ in range(3))
    if not levels or not buckets or first + levels * buckets > contexts:
        raise damaged("a run of contexts is out of range")
    return Shape(first, levels, buckets)


def _preset(reader: Reader, old_size: int) -> list[tuple[int, int]]:
    pieces, at, total = [], 0, 0
    for _ in range(reader.varint(reader.left)):
        start = at + reader.signed(old_size)
        count = reader.varint(MAX_PRESET - total)
        if start < 0 or start + count > old_size:
            raise damaged("a piece of the preset dictionary is outside the base")
        pieces.append((start, count))
        at, total = start + count, total + count
    return pieces


def _vectors(reader: Reader, old_size: int, contexts: int) -> list[Vector]:
    vectors: list[Vector] = []
    at, room = 0, MAX_POOL_WORDS
    for number in range(reader.varint(reader.left)):
        vector = _vector(reader, number, at, room)
        at = vector.old_at + 4 * vector.count
        if vector.old_at < 0 or at > old_size:
            raise damaged("a vector lies outside the base")
        if vector.context >= max(1, contexts):
            raise damaged("a vector's context is out of range")
        room -= vector.count
        vectors.append(vector)
    return vectors


def _vector(reader: Reader, number: int, at: int, room: int) -> Vector:
    origin = Origin(reader.varint(len(Origin) - 1))
    count = reader.varint(room)
    if not count:
        raise damaged("a vector is empty")
    old_at = at + reader.signed()
    context, factors = 0, (0, 0)
    if origin is Origin.DERIVED:
        factors = (_earlier(reader, number), _earlier(reader, number))
    elif origin is not Origin.SAME:
        context = reader.varint(MAX_CONTEXTS)
    return Vector(origin, count, old_at, context, factors)


def _earlier(reader: Reader, number: int) -> int:
    back = reader.varint(number)
    if not back:
        raise damaged("a vector is derived from one that does not exist yet")
    return number - back
