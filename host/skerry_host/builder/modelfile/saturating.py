"""Which activations of a graph only a sigmoid reads, so that their far ends mean the same. Pure."""

from collections import defaultdict
from collections.abc import Collection

from skerry_host.builder.modelfile.graph import Graph, Op

_MOVES = {
    "RESHAPE", "CONCATENATION", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V",
}  # fmt: skip
"""Operators that move values and change none."""


def saturating(graph: Graph, outputs: Collection[str] = (), floats: Collection[int] = ()) -> set[str]:
    """The names of what operators write that only LOGISTIC reads, or who reads these outputs, or what moves it there.

    Of SiLU, x times its sigmoid, x is none of them. One of the operators `floats`, by index, which compute on float,
    tells all numbers apart: the logarithm of its result, say, goes on where 8 bits end.
    """
    readers: dict[int, list[Op]] = defaultdict(list)
    for op in graph.ops:
        for index in op.inputs:
            readers[index].append(op)
    found, ends = set[int](), set(graph.outputs)
    for op in reversed(graph.ops):
        for index in op.outputs:
            named = index in ends and graph.tensors[index].name in outputs
            whole = all(reader.index not in floats and _saturates(reader, found) for reader in readers[index])
            if whole and (named or (readers[index] and index not in ends)):
                found.add(index)
    return {graph.tensors[index].name for index in found}


def _saturates(op: Op, found: set[int]) -> bool:
    return op.name == "LOGISTIC" or (op.name in _MOVES and found.issuperset(op.outputs))
