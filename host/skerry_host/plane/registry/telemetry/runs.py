"""A latency sketch at rest: its buckets as one list of small numbers. Pure.

`[zeros, first, ...]`: how many values were 0 or less, the first bucket's index, then the count of each bucket from that
one on; a negative number -n stands for n empty buckets. A report's sketch is about a byte for each bucket that way.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from skerry_agent.wire.sketch import GAMMA, Sketch

Runs = Sequence[int]

MOST = 2**63 - 1
"""The largest count: more is not counted."""

FARTHEST = int(math.log(1e300) / math.log(GAMMA))
"""The highest and, below 0, the lowest index of a bucket: those beyond hold nothing that can be measured."""


def packed(sketch: Sketch) -> list[int]:
    """The runs of a sketch. Raises `ValueError` for a bucket or a count that cannot be."""
    return of_buckets({int(index): count for index, count in sketch.buckets.items()}, sketch.zeros)


def of_buckets(buckets: Mapping[int, int], zeros: int) -> list[int]:
    """The runs of counts by bucket. Raises `ValueError` for a bucket or a count that cannot be."""
    if not buckets:
        return [_checked(zeros)]
    order = sorted(buckets)
    counts = [buckets[index] for index in order]
    if min(counts) < 1 or max(counts) > MOST or order[0] < -FARTHEST or order[-1] > FARTHEST:
        raise ValueError("a latency bucket is out of range")
    if order[-1] - order[0] == len(order) - 1:
        return [_checked(zeros), order[0], *counts]
    return [_checked(zeros), order[0], *_with_gaps(order, counts)]


def buckets(runs: Runs) -> dict[int, int]:
    """Counts by bucket."""
    return dict(_counted(runs))


def unpacked(runs: Runs, total: float) -> Sketch:
    """The sketch of some runs."""
    return Sketch({str(index): count for index, count in _counted(runs)}, runs[0] if runs else 0, total)


def merged(all_runs: Iterable[Runs]) -> list[int]:
    """All of them together; a count beyond the largest stays there."""
    sums: dict[int, int] = {}
    zeros = 0
    for runs in all_runs:
        zeros += runs[0] if runs else 0
        for index, count in _counted(runs):
            sums[index] = sums.get(index, 0) + count
    if sums and max(sums.values()) > MOST:
        sums = {index: min(count, MOST) for index, count in sums.items()}
    return of_buckets(sums, min(zeros, MOST))


def quantiles(runs: Runs, ranks: Sequence[float]) -> list[float] | None:
    """The values at some ranks (0..1), each within 1 %, as `Sketch.quantile` has them; None without values."""
    pairs = list(_counted(runs))
    zeros = runs[0] if runs else 0
    ends = list(accumulate((count for _, count in pairs), initial=zeros))
    if not ends[-1]:
        return None
    places = [min(bisect_right(ends, rank * (ends[-1] - 1)), len(pairs)) for rank in ranks]
    return [_midpoint(pairs[place - 1][0]) if place else 0.0 for place in places]


def _checked(zeros: int) -> int:
    if not 0 <= zeros <= MOST:
        raise ValueError("a count of latencies is out of range")
    return zeros


def _with_gaps(order: Sequence[int], counts: Sequence[int]) -> Iterator[int]:
    previous = order[0] - 1
    for index, count in zip(order, counts, strict=True):
        if index > previous + 1:
            yield previous + 1 - index
        yield count
        previous = index


def _counted(runs: Runs) -> Iterator[tuple[int, int]]:
    index = runs[1] if len(runs) > 1 else 0
    for count in runs[2:]:
        if count < 0:
            index -= count
        else:
            yield index, count
            index += 1


def _midpoint(index: int) -> float:
    return float(2 * GAMMA**index / (GAMMA + 1))
