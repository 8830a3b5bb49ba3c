"""Turns paired layers into what a patch may code specially: weight grids, biases and scale vectors.

Whatever is unchanged, tiny or better off as plain bytes is left out. It decides what, not how it is written.
"""

import zlib
from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.pool import on_grid, product, rescaled
from skerry_agent.patch.program import MAX_POOL_WORDS, MAX_SIDE, Origin, Shape
from skerry_host.patch.floats import FloatRegion
from skerry_host.patch.grid import Fit
from skerry_host.patch.pairing import Pair, grid_of, spread_bits, values_of
from skerry_host.patch.tensors import Bias, Span, Weights

SMALLEST_GRID = 96
WIDE = 4096  # columns that rows longer than an extent may have are cut to, or somewhat fewer
SPARSE = 400  # a grid with fewer than one change in so many bytes is cheaper as scattered changes

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class GridRegion:
    """A weight grid to code at `at`, from `source` (offset, row stride, column stride) in the old file or nothing."""

    at: int
    fit: Fit
    source: tuple[int, int, int] | None

    @property
    def size(self) -> int:
        """How many bytes of the new file it makes."""
        return int(self.fit.new.size)


@dataclass(frozen=True, slots=True)
class VectorRegion:
    """Words of the new file that pool vector `number` makes."""

    at: int
    size: int
    number: int
    old_at: int


@dataclass(frozen=True, slots=True)
class WordsRegion:
    """A bias: new words as differences from the old ones, which are rescaled first if `vector` is given."""

    at: int
    values: NDArray[np.int64]
    old_at: int
    vector: int | None

    @property
    def size(self) -> int:
        """How many bytes of the new file it makes."""
        return 4 * len(self.values)

    def as_change(self, old: bytes, new: bytes) -> "WordsRegion":
        """The same from the old words as they are."""
        count = len(self.values)
        before, after = np.frombuffer(old, "<u4", count, self.old_at), np.frombuffer(new, "<u4", count, self.at)
        return replace(self, values=(after - before).view(np.int32).astype(np.int64), vector=None)


@dataclass(frozen=True, slots=True)
class VectorPlan:
    """A pool vector: `values` are its coded numbers, `factors` the vectors that it derives from."""

    origin: Origin
    old: Span
    values: NDArray[np.int64]
    factors: tuple[int, int] | None = None


@dataclass(slots=True)
class Regions:
    """Everything found, in any order, but `vectors` in the order in which they must be made."""

    grids: list[GridRegion] = field(default_factory=list)
    words: list[WordsRegion] = field(default_factory=list)
    pooled: list[VectorRegion] = field(default_factory=list)
    vectors: list[VectorPlan] = field(default_factory=list)
    floats: list[FloatRegion] = field(default_factory=list)
    anchors: dict[int, tuple[int, int]] = field(default_factory=dict)  # new offset -> (size, old offset), unchanged
    fitted: tuple[Shape, Shape] | None = None  # the contexts that the grids were last fitted for

    def words_of(self, part: VectorRegion | WordsRegion, seen: set[int]) -> int:
        """How many pool words `part` needs beyond the vectors in `seen`, to which those are added."""
        number = part.number if isinstance(part, VectorRegion) else part.vector
        return 0 if number is None else self._need(number, seen)

    def words_with(self, plan: VectorPlan, seen: set[int] | None = None) -> int:
        """How many pool words `plan` and its factors need beyond the vectors in `seen`."""
        seen = set() if seen is None else seen
        return plan.old.count + sum(self._need(factor, seen) for factor in plan.factors or ())

    def within(self, start: int, stop: int) -> "Regions":
        """The regions that begin in [start, stop) of the new file, with the vectors that they need."""

        def inside(part: GridRegion | VectorRegion | WordsRegion | FloatRegion) -> bool:
            return start <= part.at < stop

        pooled, words = list(filter(inside, self.pooled)), list(filter(inside, self.words))
        needed: set[int] = set()
        parts: list[VectorRegion | WordsRegion] = [*pooled, *words]
        for part in parts:
            self.words_of(part, needed)
        place = {number: rank for rank, number in enumerate(sorted(needed))}
        return Regions(
            list(filter(inside, self.grids)),
            [replace(part, vector=None if part.vector is None else place[part.vector]) for part in words],
            [replace(part, number=place[part.number]) for part in pooled],
            [_moved(self.vectors[number], place) for number in place],
            list(filter(inside, self.floats)),
            {at: rest for at, rest in self.anchors.items() if start <= at < stop},
        )

    def of_first_pool(self, old: bytes, new: bytes, room: int = MAX_POOL_WORDS) -> "Regions":
        """What one program can say: vectors beyond its pool are plain bytes, and rescale no biases."""
        kept = int(np.cumsum([plan.old.count for plan in self.vectors]).searchsorted(room, "right"))
        pooled = [part for part in self.pooled if part.number < kept]
        words = [part if (part.vector or 0) < kept else part.as_change(old, new) for part in self.words]
        return replace(self, words=words, pooled=pooled, vectors=self.vectors[:kept])

    def claims(self) -> "Claims":
        """What the regions of layers make of the new file."""
        claims = Claims()
        parts: list[GridRegion | WordsRegion | VectorRegion] = [*self.grids, *self.words, *self.pooled]
        for part in parts:
            claims.take(part.at, part.size)
        return claims

    def _need(self, number: int, seen: set[int]) -> int:
        """How many pool words a vector takes beyond those in `seen`, with all that it is made of."""
        if number in seen:
            return 0
        seen.add(number)
        return self.words_with(self.vectors[number], seen)


def _moved(plan: VectorPlan, place: dict[int, int]) -> VectorPlan:
    return plan if plan.factors is None else replace(plan, factors=(place[plan.factors[0]], place[plan.factors[1]]))


class Claims:
    """Parts of the new file, none overlapping another."""

    def __init__(self) -> None:
        self._taken: list[tuple[int, int]] = []

    def free(self, at: int, size: int) -> bool:
        """Whether none of these bytes is claimed."""
        rank = bisect_left(self._taken, (at, at))
        free_before = not rank or self._taken[rank - 1][1] <= at
        return free_before and (rank == len(self._taken) or at + size <= self._taken[rank][0])

    def take(self, at: int, size: int) -> bool:
        """Claim these bytes; false if another region has some of them, as when layers share a buffer."""
        free = self.free(at, size)
        if free:
            insort(self._taken, (at, at + size))
        return free


def find_regions(old: bytes, new: bytes, pairs: list[Pair]) -> Regions:
    """The regions of `new` worth coding specially, none overlapping another."""
    finder = _Finder(old, new)
    for pair in pairs:
        finder.layer(pair)
    return finder.regions


class _Finder:
    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new
        self._claims = Claims()
        self._made: dict[Span, int] = {}
        self.regions = Regions()

    def layer(self, pair: Pair) -> None:
        """Add what `pair` offers."""
        if pair.new.weights is not None:
            self._weights(pair.new.weights, pair.old.weights if pair.old else None, pair.transposed)
        if pair.old is None:
            return
        if pair.new.weights and pair.old.weights:
            self._vector(pair.old.weights.scale, pair.new.weights.scale)
        if pair.new.bias and pair.old.bias:
            self._bias(pair.old.bias, pair.new.bias, pair)

    def _weights(self, weights: Weights, old: Weights | None, transposed: bool) -> None:
        if old is not None and weights.cols > MAX_SIDE:
            old = _narrowed(old) if (old.rows, old.cols) == (weights.rows, weights.cols) else None
        weights = _narrowed(weights)
        if weights.size < SMALLEST_GRID:
            return
        grid = grid_of(self._new, weights)
        shared = 0
        if old is not None and not transposed and self._same_bytes(weights, old):
            self._anchor(weights, weights.size, old)
            return
        if old is not None:
            before = grid_of(self._old, old).T if transposed else grid_of(self._old, old)
            shared = min(len(before), len(grid))
            if not self._continues(weights, grid[:shared], before[:shared], old, transposed):
                shared = 0
        if shared < len(grid) and shared * weights.cols < weights.size:
            self._fresh(weights, grid[shared:], shared)

    def _same_bytes(self, weights: Weights, old: Weights) -> bool:
        """Whether nothing but the shape may have changed: then the rows of the two need not be comparable."""
        before = memoryview(self._old)[old.at : old.at + old.size]
        return before == memoryview(self._new)[weights.at : weights.at + weights.size]

    def _anchor(self, weights: Weights, size: int, old: Weights) -> None:
        if self._claims.free(weights.at, size):
            self.regions.anchors[weights.at] = (size, old.at)

    def _continues(
        self,
        weights: Weights,
        grid: NDArray[np.uint8],
        before: NDArray[np.uint8],
        old: Weights,
        transposed: bool,
    ) -> bool:
        """Add the rows of `grid` as continuing `before`, unless plain bytes or a fresh start are better."""
        changes = int(np.count_nonzero(grid != before))
        if not transposed and changes * SPARSE <= grid.size:
            self._anchor(weights, grid.size, old)
            return True
        after, residual = values_of(grid, weights.zero), (grid - before).view(np.int8)
        died = (grid == weights.zero) & (before != weights.zero)
        residual = np.where(died & (died.mean() > 0.1), 0, residual)
        if spread_bits(residual) > spread_bits(after):
            return False
        strides = (1, old.cols) if transposed else (old.cols, 1)
        if self._claims.take(weights.at, grid.size):
            fit = Fit(grid, before, weights.zero, weights.across, packed=weights.packed)
            self.regions.grids.append(GridRegion(weights.at, fit, (old.at, *strides)))
        return True

    def _fresh(self, weights: Weights, grid: NDArray[np.uint8], first: int) -> None:
        at = weights.at + first * weights.cols
        bits = spread_bits(values_of(grid, weights.zero))
        if 8 * len(zlib.compress(grid.tobytes(), 6)) < 0.97 * bits or not self._claims.take(at, grid.size):
            return
        self.regions.grids.append(
            GridRegion(at, Fit(grid, None, weights.zero, weights.across, packed=weights.packed), None)
        )

    def _vector(self, old: Span | None, new: Span | None, *, needed: bool = False) -> int | None:
        """The number of the pool vector for a scale, made if it changed or is `needed`."""
        if old is None or new is None or old.count != new.count:
            return None
        if new in self._made:
            return self._made[new]
        before, after = self._words(self._old, old), self._words(self._new, new)
        if np.array_equal(before, after):
            return self._add(new, VectorPlan(Origin.SAME, old, np.zeros(0, np.int64))) if needed else None
        steps = _grid_steps(before, after)
        if steps is not None:
            return self._emit(new, VectorPlan(Origin.GRID, old, steps))
        change = (after - before).view(np.int32).astype(np.int64)
        return self._emit(new, VectorPlan(Origin.RESIDUAL, old, change))

    def _bias(self, old: Bias, new: Bias, pair: Pair) -> None:
        scale = self._bias_scale(old, new, pair)
        if old.words.count != new.words.count:
            return
        before, after = self._words(self._old, old.words), self._words(self._new, new.words)
        if np.array_equal(before, after):
            return
        change = (after - before).view(np.int32).astype(np.int64)
        if scale is not None and old.scale and new.scale and new.scale.count in {1, len(after)}:
            # Layers may share a scale: the device rescales by the old words that the vector was made from.
            scales = self._words(self._old, self.regions.vectors[scale].old), self._words(self._new, new.scale)
            moved = (after - rescaled(before, *scales)).view(np.int32).astype(np.int64)
            if _magnitude(moved) < _magnitude(change):
                change = moved
            else:
                scale = None
        if len(change) >= 4 and self._claims.take(new.words.at, 4 * len(change)):
            self.regions.words.append(WordsRegion(new.words.at, change, old.words.at, scale))

    def _bias_scale(self, old: Bias, new: Bias, pair: Pair) -> int | None:
        if old.scale is None or new.scale is None or old.scale.count != new.scale.count:
            return None
        if new.scale in self._made:
            return self._made[new.scale]
        before, after = self._words(self._old, old.scale), self._words(self._new, new.scale)
        if np.array_equal(before, after):
            return None
        if derived := self._derived(old, new, pair, after):
            return derived
        return self._vector(old.scale, new.scale)

    def _derived(self, old: Bias, new: Bias, pair: Pair, after: Words) -> int | None:
        weights, source = pair.new.weights, new.input_scale
        if weights is None or weights.scale is None or source is None or old.input_scale is None or source.count != 1:
            return None
        made = product(self._words(self._new, weights.scale), self._words(self._new, source))
        if not np.array_equal(made, after) or not np.isfinite(after.view(np.float32)).all():
            return None
        assert pair.old is not None
        assert new.scale is not None
        assert old.scale is not None
        a = self._vector(pair.old.weights.scale if pair.old.weights else None, weights.scale, needed=True)
        b = self._vector(old.input_scale, source, needed=True)
        if a is None or b is None:
            return None
        return self._emit(new.scale, VectorPlan(Origin.DERIVED, old.scale, np.zeros(0, np.int64), (a, b)))

    def _emit(self, new: Span, plan: VectorPlan) -> int | None:
        if self.regions.words_with(plan) > MAX_POOL_WORDS or not self._claims.take(new.at, 4 * new.count):
            return None
        number = self._add(new, plan)
        if number is not None:
            self.regions.pooled.append(VectorRegion(new.at, 4 * new.count, number, plan.old.at))
        return number

    def _add(self, new: Span, plan: VectorPlan) -> int | None:
        if self.regions.words_with(plan) > MAX_POOL_WORDS:
            return None
        self.regions.vectors.append(plan)
        self._made[new] = len(self.regions.vectors) - 1
        return self._made[new]

    @staticmethod
    def _words(data: bytes, span: Span) -> Words:
        return np.frombuffer(data, "<u4", span.count, span.at).astype(np.uint32)


def _narrowed(weights: Weights) -> Weights:
    """The same bytes in rows that an extent may have; a rest that fills no row is left to plain bytes."""
    if weights.cols <= MAX_SIDE:
        return weights
    cols = next((cols for cols in range(WIDE, WIDE // 4, -1) if weights.cols % cols == 0), WIDE)
    return replace(weights, rows=weights.size // cols, cols=cols, across=False)


def _grid_steps(before: Words, after: Words) -> NDArray[np.int64] | None:
    """The steps k where after = f32(before * (1 + k / 512)) throughout, or `None`."""
    with np.errstate(all="ignore"):
        ratio = after.view(np.float32).astype(np.float64) / before.view(np.float32)
        steps = np.where(np.isfinite(ratio), np.clip(np.rint((ratio - 1) * 512), -512, 1 << 20), 0).astype(np.int64)
    made = on_grid(before, steps.astype(np.uint32))
    return steps if np.array_equal(made, after) else None


def _magnitude(values: NDArray[np.int64]) -> float:
    return float(np.log2(1 + np.abs(values)).sum())
