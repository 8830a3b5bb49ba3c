"""Which operators end up on the Edge TPU together: epochs, as TFLite partitions a graph for a delegate. Pure.

The rule: while operators are left, take every one that is ready and of the kind of the first ready one (mappable or
not), until none of the kind is ready: an epoch. The compiler keeps the first epoch of mappable operators only.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """One operator as the partition sees it: whether it could map alone, and which operators it waits for."""

    mappable: bool
    sources: frozenset[int]


@dataclass(frozen=True, slots=True)
class Partition:
    """The epoch of each operator, and the one that is kept (`None` if nothing is mappable)."""

    epochs: tuple[int, ...]
    kept: int | None

    def mapped(self, index: int) -> bool:
        """Whether an operator runs on the Edge TPU."""
        return self.kept is not None and self.epochs[index] == self.kept


def partition(works: Sequence[Work]) -> Partition:
    """Partition operators that are given in the order of execution."""
    epochs: dict[int, int] = {}
    kept: int | None = None
    epoch = 0
    left = list(range(len(works)))
    while left:
        taken = _epoch(works, left, epochs, epoch)
        if kept is None and works[taken[0]].mappable:
            kept = epoch
        left = [index for index in left if index not in epochs]
        epoch += 1
    return Partition(tuple(epochs[index] for index in range(len(works))), kept)


def _epoch(works: Sequence[Work], left: Sequence[int], epochs: dict[int, int], epoch: int) -> list[int]:
    """Take one epoch out of what is left, into `epochs`; never empty, so that a cyclic graph ends too.

    One pass is enough in the order of execution; a file in another order needs more.
    """
    ready = next((i for i in left if works[i].sources <= epochs.keys()), left[0])
    taken = [ready]
    epochs[ready] = epoch
    grown = True
    while grown:
        more = []
        for i in left:
            if i not in epochs and works[i].mappable == works[ready].mappable and works[i].sources <= epochs.keys():
                epochs[i] = epoch
                more.append(i)
        taken += more
        grown = bool(more)
    return taken


def causes(works: Sequence[Work], split: Partition) -> list[int]:
    """For each operator the one that keeps it off the Edge TPU: itself, else its first ancestor that ended the mapping.

    Meaningless for operators that are mapped.
    """
    first: list[int | None] = []
    for work in works:
        above = {source for source in work.sources if source < len(first)}
        ends = {s for s in above if not works[s].mappable and (split.kept is None or split.epochs[s] > split.kept)}
        first.append(min(ends | {f for s in above if (f := first[s]) is not None}, default=None))
    return [i if not work.mappable or (f := first[i]) is None else f for i, work in enumerate(works)]
