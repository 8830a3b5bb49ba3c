"""How many ids a model knows: the rows of the tables (embeddings) that its inputs are indices of. Pure."""

from collections.abc import Iterator

from skerry_host.builder.modelfile.graph import Graph, Op

_SAME_VALUES = {
    "CAST",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "QUANTIZE",
    "DEQUANTIZE",
    "Cast",
    "Reshape",
    "Unsqueeze",
    "Identity",
}
"""Operators that hand numbers on as they are."""
_CHOSEN = {"SELECT", "SELECT_V2", "Where"}
"""Operators that choose between values: Keras counts negative ids from the end so."""
_TABLES = {"GATHER": (0, 1), "Gather": (0, 1), "EMBEDDING_LOOKUP": (1, 0)}
"""Which input of an operator is the table, and which holds the indices."""


def vocabularies(graph: Graph) -> dict[int, int]:
    """For inputs of ids, by their place, the rows of the smallest table that they are looked up in."""
    found: dict[int, int] = {}
    for place, index in enumerate(graph.inputs):
        rows = list(_rows(graph, index)) if graph.tensors[index].dtype in {"int32", "int64"} else []
        if rows:
            found[place] = min(rows)
    return found


def _rows(graph: Graph, start: int) -> Iterator[int]:
    reached = {start}
    for op in graph.ops:
        passed = op.inputs[:1] if op.name in _SAME_VALUES else op.inputs[1:] if op.name in _CHOSEN else ()
        if reached & set(passed):
            reached |= set(op.outputs)
        elif op.name in _TABLES and _looked_up(op) in reached:
            table = graph.tensors[op.inputs[_TABLES[op.name][0]]]
            if table.constant_bytes and len(table.shape) > 1:
                yield table.shape[0]


def _looked_up(op: Op) -> int:
    at = _TABLES[op.name][1]
    return op.inputs[at] if at < len(op.inputs) else -1
