"""Widens float16 and double ONNX models to float32, the one precision that is quantized from. Computes nothing."""

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_OTHERS = {onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
_FLOAT = onnx.TensorProto.FLOAT
_TYPED = {"to", "dtype"}
"""Attributes that hold a type."""


def as_float32(model: Any) -> list[str]:
    """Every tensor, value and conversion of another float type becomes float32; what was done, if anything."""
    wide = {tensor.data_type for tensor in model.graph.initializer} & _OTHERS
    wide |= {value.type.tensor_type.elem_type for value in _values(model.graph)} & _OTHERS
    if not wide:
        return []
    _widen(model.graph)
    names = sorted(onnx.TensorProto.DataType.Name(kind).lower() for kind in wide)
    return [f"{' and '.join(names)} taken as float32"]


def _values(graph: Any) -> list[Any]:
    return [*graph.input, *graph.output, *graph.value_info]


def _widen(graph: Any) -> None:
    for value in _values(graph):
        if value.type.tensor_type.elem_type in _OTHERS:
            value.type.tensor_type.elem_type = _FLOAT
    for tensor in graph.initializer:
        _tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            _attribute(attribute)


def _attribute(attribute: Any) -> None:
    if attribute.type == onnx.AttributeProto.TENSOR:
        _tensor(attribute.t)
    elif attribute.type == onnx.AttributeProto.GRAPH:
        _widen(attribute.g)
    elif attribute.name in _TYPED and attribute.i in _OTHERS:
        attribute.i = _FLOAT


def _tensor(tensor: Any) -> None:
    if tensor.data_type in _OTHERS:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.clip(values, *_ENDS), tensor.name))


_ENDS = (np.finfo(np.float32).min, np.finfo(np.float32).max)
"""Doubles may be larger: infinity in their place would make NaN."""
