"""Inputs of a `schema.ModelT` that the recipe fixes become constants, in place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
    schema.TensorType.BOOL: np.dtype("?"),
    schema.TensorType.UINT8: np.dtype("u1"),
    schema.TensorType.INT8: np.dtype("i1"),
}


def fix_values(model: Any, places: Mapping[int, float]) -> None:
    """Make constants of the first subgraph's inputs at these places, of one number each."""
    main = model.subgraphs[0]
    fixed = {int(main.inputs[place]): number for place, number in places.items()}
    for index, number in fixed.items():
        tensor, made = main.tensors[index], schema.BufferT()
        shape = [] if tensor.shape is None else [max(1, int(size)) for size in tensor.shape]
        made.data = np.frombuffer(np.full(shape, number, _DTYPES[tensor.type]).tobytes(), np.uint8)
        tensor.buffer, tensor.shapeSignature = len(model.buffers), None
        model.buffers.append(made)
    main.inputs = np.array([int(i) for i in main.inputs if int(i) not in fixed], np.int32)
    for signature in model.signatureDefs or []:
        signature.inputs = [entry for entry in signature.inputs if int(entry.tensorIndex) not in fixed]
