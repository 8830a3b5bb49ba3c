"""Constant tensors of a `schema.ModelT` as arrays, and the operators on them that count and compare. Pure.

Only what loops count with: integers and truth values. Nothing of a network's arithmetic is computed here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array

_TYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
    schema.TensorType.BOOL: np.dtype("?"),
}
DTYPES = {dtype.str[1:]: code for code, dtype in _TYPES.items()}
"""The schema's code of a numpy type, by its kind and size (`i4`)."""


def constant_of(model: Any, graph: Any, index: int) -> Array | None:
    """The values of a constant; None where a tensor is none, or of another type."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    data, dtype = model.buffers[tensor.buffer].data, _TYPES.get(tensor.type)
    if data is None or not len(data) or dtype is None:
        return None
    shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)
    return values.reshape(shape) if values.size == int(np.prod(shape)) else None


_ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "FLOOR_DIV": np.floor_divide,
    "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "LOGICAL_NOT": np.logical_not,
    "SELECT_V2": np.where,
}


def evaluate(name: str, op: Any, got: list[Array]) -> Array | None:
    """What an operator makes of constants; None for one that is not known here."""
    if name in _ELEMENTWISE:
        return np.asarray(_ELEMENTWISE[name](*got))
    if name == "RESHAPE":
        return got[0].reshape(tuple(got[1]))
    if name == "CONCATENATION":
        return np.concatenate(got, op.builtinOptions.axis)
    if name == "PACK":
        return np.stack(got, op.builtinOptions.axis)
    if name == "EXPAND_DIMS":
        return np.expand_dims(got[0], int(np.ravel(got[1])[0]))
    return None
