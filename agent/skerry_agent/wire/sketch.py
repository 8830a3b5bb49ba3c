"""A mergeable log-bucket sketch of positive values, 1 % relative error (after DDSketch, Masson et al., VLDB 2019).

Bucket i holds values in (g**(i-1), g**i] with g = 1.02, so its midpoint is within 1 % of each of them. Merging
is adding counts. Standard library only, because the device's supervisor and the host use it alike.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from msgspec import Struct

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.tallies import MAX_NUMBER, pack_tally, read_varint, unpack_tally, write_varint

GAMMA = 1.02
MAX_INDEX = 5_000
"""The largest bucket either way: 1.02 ** 5000 is 1e43, and no latency."""

MAX_TOTAL = 1e18
_LOG_GAMMA = math.log(GAMMA)
_INDEX_DIGITS = len(str(-MAX_INDEX))
_TOTAL = struct.Struct("<d")


class Sketch(Struct, frozen=True):
    """The transportable form: bucket index (as text, for JSON) to count; `zeros` counts values of 0 or less."""

    buckets: dict[str, int] = {}
    zeros: int = 0
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many values went in."""
        return self.zeros + sum(self.buckets.values())

    @property
    def mean(self) -> float | None:
        """Arithmetic mean, exact; None without values."""
        return self.total / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The value at rank q (0..1), within 1 %; None without values."""
        return self.quantiles(q)[0]

    def quantiles(self, *qs: float) -> tuple[float | None, ...]:
        """The values at several ranks."""
        indexes = sorted(map(int, self.buckets))
        ends = [*accumulate((self.buckets[str(index)] for index in indexes), initial=self.zeros)]
        return tuple(_at_rank(q * (ends[-1] - 1), indexes, ends) if ends[-1] else None for q in qs)

    def merged(self, other: "Sketch") -> "Sketch":
        """Both together."""
        buckets = dict(self.buckets)
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
        return Sketch(buckets, self.zeros + other.zeros, self.total + other.total)


def pack_sketch(sketch: Sketch) -> bytes:
    """The bytes that `unpack_sketch` reads, about one a bucket; none for an empty sketch.

    Nothing is lost but buckets that count nothing. Raises `WireError` for a sketch that no recorder makes.
    """
    issues = [*issues_of(sketch)]
    if issues:
        raise WireError("sketch", issues)
    if not (sketch.buckets or sketch.zeros or sketch.total):
        return b""
    out = bytearray(_TOTAL.pack(sketch.total))
    write_varint(sketch.zeros, out)
    return bytes(out) + pack_tally({_bucket(index) or 0: count for index, count in sketch.buckets.items()})


def unpack_sketch(raw: bytes) -> Sketch:
    """The sketch of these bytes; raises `WireError` that says what is wrong with them."""
    if not raw:
        return Sketch()
    if len(raw) <= _TOTAL.size:
        raise WireError("sketch", ["it is cut off"])
    (total,) = _TOTAL.unpack_from(raw)
    zeros, at = read_varint(raw, _TOTAL.size)
    indexes, counts = unpack_tally(raw, at)
    if not (abs(total) <= MAX_TOTAL and zeros <= MAX_NUMBER):
        raise WireError("sketch", [f"total {total:g} of {zeros} zeros is beyond all measure"])
    if indexes and not (indexes[0] >= -MAX_INDEX and indexes[-1] <= MAX_INDEX):
        raise WireError("sketch", [f"buckets: {indexes[0]} to {indexes[-1]} are beyond {MAX_INDEX}"])
    return Sketch(dict(zip(map(str, indexes), counts, strict=True)), zeros, total)


def issues_of(sketch: Sketch) -> Iterator[str]:
    """What no recorder could have made."""
    if not abs(sketch.total) <= MAX_TOTAL:
        yield f"total: {sketch.total:g} is beyond all measure"
    if not 0 <= sketch.zeros <= MAX_NUMBER:
        yield f"zeros: {sketch.zeros} is beyond all measure"
    for index, count in sketch.buckets.items():
        if _bucket(index) is None:
            yield f"buckets: {index[:20]!r} is no bucket"
        elif not 0 <= count <= MAX_NUMBER:
            yield f"buckets.{index}: {count} is beyond all measure"


@lru_cache(2 * MAX_INDEX)
def _bucket(index: str) -> int | None:
    """The number of a bucket; None where the text is none."""
    if len(index) > _INDEX_DIGITS or not index.removeprefix("-").isdecimal() or str(int(index)) != index:
        return None
    return int(index) if abs(int(index)) <= MAX_INDEX else None


class Recorder:
    """Collects values; cheap enough for every inference."""

    __slots__ = ("_buckets", "_total", "_zeros")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._total += value
        if value <= 0:
            self._zeros += 1
            return
        index = math.ceil(math.log(value) / _LOG_GAMMA)
        self._buckets[index] = self._buckets.get(index, 0) + 1

    def take(self) -> Sketch:
        """What was collected since the last `take`; starts anew."""
        sketch = Sketch(_as_text(self._buckets), self._zeros, self._total)
        self._buckets, self._zeros, self._total = {}, 0, 0.0
        return sketch


def _at_rank(rank: float, indexes: Sequence[int], ends: Sequence[int]) -> float:
    """The value at a rank; `ends` are how many values are at or below 0, and below the end of each bucket."""
    place = bisect_right(ends, rank)
    return 0.0 if place == 0 else _midpoint(indexes[min(place, len(indexes)) - 1])


def _as_text(buckets: Mapping[int, int]) -> dict[str, int]:
    return {str(index): count for index, count in buckets.items()}


def _midpoint(index: int) -> float:
    """The value whose relative distance to both ends of the bucket is the same."""
    return float(2 * GAMMA**index / (GAMMA + 1))
