"""The tables that a model looks ids up in (embeddings), by the inputs that bring the ids. Pure."""

from skerry_host.builder.modelfile.graph import Graph, Op

_PASSED_ON = {"CAST", "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity"}
"""Operators that hand ids on as they are."""
_CHOSEN = {"SELECT", "SELECT_V2", "Where"}
"""Operators that choose between values: Keras counts negative ids from the end so."""
_PLACES = {"GATHER": (0, 1), "Gather": (0, 1), "EMBEDDING_LOOKUP": (1, 0)}
"""The places of the table and of the ids among an operator's inputs (TFLite's and ONNX's)."""


def table_rows(graph: Graph) -> dict[str, int]:
    """For each input that holds ids the rows of the smallest table that they are looked up in."""
    names = {index: spec.name for index, spec in zip(graph.inputs, graph.input_specs(), strict=True)}
    found: dict[str, int] = {}
    for index, name in names.items():
        rows = [size for op in _readers(graph, index) if (size := _rows(graph, *op)) is not None]
        if rows and graph.tensors[index].dtype in {"int32", "int64"}:
            found[name] = min(rows)
    return found


def _readers(graph: Graph, index: int) -> list[tuple[Op, int]]:
    """What reads a value, whatever hands it on; with the value that it reads."""
    seen, todo = [], [index]
    for value in todo:
        for op in graph.ops:
            if value not in op.inputs:
                continue
            seen.append((op, value))
            passed = op.inputs[:1] if op.name in _PASSED_ON else op.inputs[1:] if op.name in _CHOSEN else ()
            if value in passed:
                todo.extend(output for output in op.outputs if output not in todo)
    return seen


def _rows(graph: Graph, op: Op, ids: int) -> int | None:
    """The rows of the constant table of an operator that looks `ids` up in it; None where it does not."""
    if op.name not in _PLACES or len(op.inputs) < 2:
        return None
    table, place = _PLACES[op.name]
    tensor = graph.tensors[op.inputs[table]]
    known = tensor.constant_bytes > 0 and len(tensor.shape) == 2 and op.inputs[place] == ids
    return tensor.shape[0] if known else None
