"""The pool: scale vectors, made before the extents run because weights, scales and biases all need them.

Single IEEE operations and integers only, so every CPU makes the same bits. It does not write output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.program import Origin, Vector
from skerry_agent.patch.symbols import MAX_NUMBERS, Symbols

Words = NDArray[np.uint32]
GRID_STEPS: Final = 512


@dataclass(frozen=True, slots=True)
class Pooled:
    """A vector's new words, and the old ones that they replace."""

    new: Words
    old: Words


def words_at(old: memoryview, start: int, count: int) -> Words:
    """`count` little-endian words of `old`."""
    return np.frombuffer(old[start : start + 4 * count], dtype="<u4").astype(np.uint32, copy=False)


def make_pool(vectors: list[Vector], old: memoryview, symbols: Symbols) -> list[Pooled]:
    """All vectors in order. Raises `PatchError('damaged')`."""
    pool: list[Pooled] = []
    for vector in vectors:
        before = words_at(old, vector.old_at, vector.count)
        pool.append(Pooled(_make(vector, before, pool, symbols), before))
    return pool


def _make(vector: Vector, before: Words, pool: list[Pooled], symbols: Symbols) -> Words:
    if vector.origin is Origin.DERIVED:
        return _derived(vector, pool)
    if vector.origin is Origin.SAME:
        return before
    move = on_grid if vector.origin is Origin.GRID else np.add
    return _in_blocks(
        vector.count, lambda part: move(before[part], symbols.numbers(part.stop - part.start, vector.context))
    )


def _in_blocks(count: int, make: Callable[[slice], Words]) -> Words:
    """`count` words, made at most `MAX_NUMBERS` at a time, to bound memory."""
    made = np.empty(count, dtype=np.uint32)
    for start in range(0, count, MAX_NUMBERS):
        part = slice(start, min(start + MAX_NUMBERS, count))
        made[part] = make(part)
    return made


def on_grid(before: Words, steps: Words) -> Words:
    """Scales f32(s * (1 + k / 512)) of scales s and signed steps k: exact in f64, so rounded once."""
    with np.errstate(all="ignore"):
        factor = 1 + steps.view(np.int32).astype(np.float64) / GRID_STEPS
        return _as_f32(before.view(np.float32).astype(np.float64) * factor)


def product(a: Words, b: Words) -> Words:
    """The words f32(a * b): the product of two f32 is exact in f64, so rounded once."""
    with np.errstate(all="ignore"):
        return _as_f32(a.view(np.float32).astype(np.float64) * b.view(np.float32).astype(np.float64))


def rescaled(values: Words, before: Words, after: Words) -> Words:
    """The words rint(v * (before / after)) of signed words v: a bias whose scale has changed; 0 where not a number."""
    with np.errstate(all="ignore"):
        ratio = before.view(np.float32).astype(np.float64) / after.view(np.float32).astype(np.float64)
        moved = np.rint(values.view(np.int32) * ratio)
        # A cast of what does not fit differs between CPUs, so nothing such may reach it.
        return np.where(np.abs(moved) < 2.0**31, moved, 0).astype(np.int64).astype(np.uint32)


def _derived(vector: Vector, pool: list[Pooled]) -> Words:
    a, b = (pool[factor].new for factor in vector.factors)
    if len(b) != 1 or len(a) != vector.count:
        raise damaged("a derived vector has another length than its factors")
    return _in_blocks(vector.count, lambda part: product(a[part], b))


def _as_f32(values: NDArray[np.float64]) -> Words:
    return values.astype(np.float32).view(np.uint32)
