"""Whether a runner's memory grows without an end, from its resident size over time. Pure: no clock, no processes.

A leak raises the floor in every part of a period; a warm-up, a larger request or a fragmented heap raise it in some.
So the period is cut into blocks of equal length and the least size in each is taken; their slope is the median of all
pairwise slopes, and its lower bound the one of the rank that Kendall's variance gives (Sen, JASA 63, 1968). That bound
is above 0 only where nearly every pair rises. Besides, the last third of the period must have its share, for what
levels off is no leak, and no single step may have much of the growth, for a few larger requests are none either. What
is material is up to the caller. A saw tooth longer than the period cannot be told from a leak: so a short period must
show much. `tests/agent/machine/test_memory_growth.py` has the rates of false alarms and of leaks found, by simulation.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median

from msgspec import Struct

BLOCKS = 12
Z = 3.1
"""Standard normal quantile of the lower bound: 1 in 1,000, if the sizes of blocks were independent."""
LEAST_SHARE = 0.5
"""Of the mean growth, that the last third of the period must still have."""

MAX_STEP_SHARE = 0.25
"""Of the growth, that one step from block to block may have; of an even growth each has an eleventh."""

Point = tuple[float, int]
"""Seconds and resident bytes."""


class Growth(Struct, frozen=True):
    """Bytes a second: the slope and its lower bound, which is 0 where no growth is sure."""

    slope: float
    at_least: float
    grown_bytes: int

    def __str__(self) -> str:
        """For people."""
        hourly, at_least = self.slope * 3600 / 1e6, self.at_least * 3600 / 1e6
        return f"{hourly:.2f} MB/h (at least {at_least:.2f}), {self.grown_bytes} B so far"


NONE = Growth(0.0, 0.0, 0)


def memory_growth(points: Sequence[Point]) -> Growth:
    """The growth over the period of these points, in order of time; none where there are too few of them to judge."""
    floors = _floors(points)
    if len(floors) < BLOCKS:
        return NONE
    slopes = sorted((b - a) / (t - s) for (s, a), (t, b) in combinations(floors, 2))
    at_least = slopes[_rank(len(floors))]
    third = len(floors) // 3
    grown = floors[-1][1] - floors[0][1]
    last = floors[-1][1] - floors[-1 - third][1]
    step = max(b - a for (_, a), (_, b) in pairwise(floors))
    levels_off = last < LEAST_SHARE * grown * third / (len(floors) - 1)
    if at_least <= 0 or levels_off or step > MAX_STEP_SHARE * grown:
        at_least = 0.0
    return Growth(median(slopes), max(0.0, at_least), grown)


def _floors(points: Sequence[Point]) -> list[Point]:
    """The least size in each block of time, at the block's middle; blocks without a point are left out."""
    if not points:
        return []
    start, length = points[0][0], (points[-1][0] - points[0][0]) / BLOCKS
    if length <= 0:
        return []
    least: dict[int, int] = {}
    for at, size in points:
        block = min(BLOCKS - 1, int((at - start) / length))
        least[block] = min(size, least.get(block, size))
    return [(start + (block + 0.5) * length, size) for block, size in sorted(least.items())]


def _rank(blocks: int) -> int:
    """The place of the lower bound among all sorted pairwise slopes."""
    pairs = blocks * (blocks - 1) // 2
    spread = Z * math.sqrt(blocks * (blocks - 1) * (2 * blocks + 5) / 18)
    return max(0, int((pairs - spread) / 2))
