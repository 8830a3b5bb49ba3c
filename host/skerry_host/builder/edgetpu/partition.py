"""Which operators end up on the Edge TPU together: epochs, as TFLite partitions a graph for a delegate. Pure.

The rule: while operators are left, take every one that is ready and of the kind of the first ready one (mappable or
not), until none of the kind is ready: an epoch. The compiler keeps the first epoch of mappable operators only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True, slots=True)
class OpNode:
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


def partition(nodes: Sequence[OpNode]) -> Partition:
    """Partition operators that are given in the order of execution, in time linear in their edges."""
    queue = _Queue(nodes)
    epochs: dict[int, int] = {}
    kept: int | None = None
    epoch = 0
    while (first := queue.first()) is not None:
        kind = nodes[first].mappable
        if kept is None and kind:
            kept = epoch
        while (index := queue.take(kind)) is not None:
            epochs[index] = epoch
        epoch += 1
    return Partition(tuple(epochs[index] for index in range(len(nodes))), kept)


class _Queue:
    """The operators that are left: which are ready, by kind, in the order of execution."""

    def __init__(self, nodes: Sequence[OpNode]) -> None:
        self._works = nodes
        self._waits = [len(node.sources) for node in nodes]
        self._users: list[list[int]] = [[] for _ in nodes]
        for index, node in enumerate(nodes):
            for source in node.sources:
                self._users[source].append(index)
        self._left: dict[int, None] = dict.fromkeys(range(len(nodes)))
        self._ready: dict[bool, list[int]] = {True: [], False: []}
        for index, count in enumerate(self._waits):
            if not count:
                heappush(self._ready[nodes[index].mappable], index)

    def first(self) -> int | None:
        """The first that is ready; in a cyclic graph, where none may be, the first that is left."""
        ready = [heap[0] for heap in self._ready.values() if heap]
        if ready:
            return min(ready)
        index = next(iter(self._left), None)
        if index is None:
            return None
        heappush(self._ready[self._works[index].mappable], index)
        return index

    def take(self, kind: bool) -> int | None:
        """Take the next ready one of a kind; what waited for it alone is ready then."""
        if not self._ready[kind]:
            return None
        index = heappop(self._ready[kind])
        del self._left[index]
        for user in self._users[index]:
            self._waits[user] -= 1
            if not self._waits[user] and user in self._left:
                heappush(self._ready[self._works[user].mappable], user)
        return index


def causes(nodes: Sequence[OpNode], split: Partition) -> list[int]:
    """For each operator the one that keeps it off the Edge TPU: itself, else its first ancestor that ended the mapping.

    Meaningless for operators that are mapped.
    """
    first: list[int | None] = []
    for node in nodes:
        above = {source for source in node.sources if source < len(first)}
        blockers = {s for s in above if not nodes[s].mappable and (split.kept is None or split.epochs[s] > split.kept)}
        first.append(min(blockers | {f for s in above if (f := first[s]) is not None}, default=None))
    return [i if not node.mappable or (f := first[i]) is None else f for i, node in enumerate(nodes)]
