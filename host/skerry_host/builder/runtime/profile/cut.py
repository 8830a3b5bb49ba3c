"""Extracts one operator of a TFLite model as a model of its own. Runs nothing."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import has_values
from skerry_host.builder.modelfile.tflite import write_model

_ALONE = {"CALL", "IF", "WHILE", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
"""Operators that mean something only among others."""


def cut(model: Any, position: int, name: str) -> bytes | None:
    """A TFLite file with only the operator at `position`; None for one that cannot stand alone.

    What it reads, except constants, becomes an input, what it writes an output. The given model is not changed.
    """
    if name in _ALONE:
        return None
    main = model.subgraphs[0]
    op = main.operators[position]
    used = sorted({int(i) for i in (*op.inputs, *op.outputs) if i >= 0})
    place = {index: at for at, index in enumerate(used)}
    alone = schema.OperatorT()
    for field, value in vars(op).items():
        setattr(alone, field, value)
    alone.opcodeIndex = 0
    alone.inputs = np.array([place.get(int(i), -1) for i in op.inputs], np.int32)
    alone.outputs = np.array([place[int(i)] for i in op.outputs], np.int32)
    graph = schema.SubGraphT()
    graph.tensors = [_moved(main.tensors[index], at) for at, index in enumerate(used)]
    graph.operators = [alone]
    graph.inputs = [place[int(i)] for i in dict.fromkeys(op.inputs) if i >= 0 and not has_values(model, int(i))]
    graph.outputs = list(alone.outputs)
    return write_model(_file(model, graph, op.opcodeIndex, [main.tensors[index].buffer for index in used]))


def _file(model: Any, graph: Any, code: int, buffers: list[int]) -> Any:
    made = schema.ModelT()
    made.version, made.description = 3, b""
    made.operatorCodes = [model.operatorCodes[code]]
    made.subgraphs = [graph]
    made.buffers = [schema.BufferT(), *(model.buffers[index] for index in buffers)]
    return made


def _moved(tensor: Any, at: int) -> Any:
    """The same tensor with the buffer after the empty first one."""
    made = schema.TensorT()
    for field, value in vars(tensor).items():
        setattr(made, field, value)
    made.buffer = at + 1
    return made
