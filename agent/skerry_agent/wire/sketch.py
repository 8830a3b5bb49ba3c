"""A mergeable log-bucket sketch of positive values, 1 % relative error (after DDSketch, Masson et al., VLDB 2019).

Bucket i holds values in (g**(i-1), g**i] with g = 1.02, so its midpoint is within 1 % of each of them. Merging
is adding counts. Standard library only, because the device's supervisor and the host use it alike.
"""

import math
from collections.abc import Mapping

from msgspec import Struct

GAMMA = 1.02
_LOG_GAMMA = math.log(GAMMA)


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
        rank = q * (self.count - 1)
        if not self.count:
            return None
        seen = self.zeros
        if rank < seen:
            return 0.0
        for index in sorted(map(int, self.buckets)):
            seen += self.buckets[str(index)]
            if rank < seen:
                return _midpoint(index)
        return _midpoint(max(map(int, self.buckets)))

    def merged(self, other: "Sketch") -> "Sketch":
        """Both together."""
        buckets = dict(self.buckets)
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
        return Sketch(buckets, self.zeros + other.zeros, self.total + other.total)


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


def _as_text(buckets: Mapping[int, int]) -> dict[str, int]:
    return {str(index): count for index, count in buckets.items()}


def _midpoint(index: int) -> float:
    """The value whose relative distance to both ends of the bucket is the same."""
    return float(2 * GAMMA**index / (GAMMA + 1))
