"""Constants of a `schema.ModelT`: read as arrays, and added. Knows no operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array

DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.UINT8: np.dtype("u1"),
    schema.TensorType.BOOL: np.dtype("?"),
}
"""numpy's type for each type of the schema that is read and written here."""
_CODES = {dtype: code for code, dtype in DTYPES.items()}


def has_values(model: Any, index: int) -> bool:
    """Whether a tensor of the first subgraph is a constant."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return data is not None and len(data) > 0


def constant(model: Any, index: int, graph: Any = None) -> Array | None:
    """The values of a constant of the first subgraph, or of another graph.

    None for other tensors, for types that are not in `DTYPES`, and for the index -1 of an input that is left out.
    """
    if index < 0:
        return None
    tensor = (model.subgraphs[0] if graph is None else graph).tensors[index]
    data, dtype = model.buffers[tensor.buffer].data, DTYPES.get(tensor.type)
    if data is None or not len(data) or dtype is None:
        return None
    shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)
    return values.reshape(shape) if values.size == int(np.prod(shape)) else None


def add_tensor(main: Any, name: bytes, dtype: int, shape: Sequence[int], buffer: int = 0) -> int:
    """The index of a new tensor."""
    made = schema.TensorT()
    made.name, made.type, made.shape, made.buffer = name, dtype, np.array(shape, np.int32), buffer
    main.tensors.append(made)
    return len(main.tensors) - 1


def add_constant_tensor(model: Any, name: bytes, values: Array) -> int:
    """The index of a new constant with an array's values, whose type is one of `DTYPES`."""
    return add_tensor(model.subgraphs[0], name, _CODES[values.dtype], values.shape, add_buffer(model, values))


def add_buffer(model: Any, values: Array) -> int:
    """The place of a new buffer with an array's values."""
    return add_bytes(model, values.tobytes())


def add_bytes(model: Any, content: bytes) -> int:
    """The place of a new buffer with some content."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
