"""An ONNX model as the same plain values as a TFLite one, so that gates and reports need not know the difference.

A float value next to a DequantizeLinear or QuantizeLinear is shown as int8, because the runtime fuses these into the
operators between them.
"""

from math import prod
from typing import Any

import onnx

from skerry_host.builder.modelfile.graph import Graph, Op, Tensor

_DTYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}
IMAGE_CHANNELS = {1, 3, 4}
"""Sizes of an axis that may hold the colours of an image."""
_ELEMENTWISE = {"Add", "Cast", "Clip", "Div", "Identity", "Mul", "Sub"}
"""What may be done to an image before it is moved."""
_TO, _FROM = "QuantizeLinear", "DequantizeLinear"


def describe_onnx(data: bytes) -> Graph:
    """The graph of an ONNX file that this program wrote, or that a child process has accepted."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    main = model.graph
    forms = _forms(main)
    integers = _integers(main)
    names = list(dict.fromkeys(name for node in main.node for name in (*node.input, *node.output) if name))
    names += [value.name for value in (*main.input, *main.output) if value.name not in names]
    index = {name: at for at, name in enumerate(names)}
    tensors = tuple(_tensor(index[name], name, forms, name in integers) for name in names)
    initial = {tensor.name for tensor in main.initializer}
    inputs = tuple(index[value.name] for value in main.input if value.name not in initial)
    outputs = tuple(index[value.name] for value in main.output)
    return Graph(1, tensors, tuple(_op(at, node, index) for at, node in enumerate(main.node)), inputs, outputs)


def image_planes(graph: Graph) -> set[str]:
    """The names of inputs that are images as planes (1, colours, height, width).

    Not those that the model itself turns at once: they are pixels, as exporters of TensorFlow leave them.
    """
    found = (graph.tensors[i] for i in graph.inputs)
    return {t.name for t in found if len(t.shape) == 4 and t.shape[1] in IMAGE_CHANNELS and not _turned(graph, t.index)}


def _turned(graph: Graph, index: int) -> bool:
    """Whether all that reads a value, arithmetic apart, moves its axes."""
    readers = [op for op in graph.ops if index in op.inputs]
    own = [op for op in readers if op.name not in _ELEMENTWISE]
    later = [op.outputs[0] for op in readers if op.name in _ELEMENTWISE]
    return bool(readers) and all(op.name == "Transpose" for op in own) and all(_turned(graph, i) for i in later)


def _forms(main: Any) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """dtype, shape and bytes of constants by name."""
    forms = {
        value.name: (
            _DTYPES.get(value.type.tensor_type.elem_type, "unknown"),
            tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim),
            0,
        )
        for value in (*main.value_info, *main.input, *main.output)
    }
    for tensor in main.initializer:
        size = len(tensor.raw_data) or sum(len(part) for part in (tensor.float_data, tensor.int32_data)) * 4
        forms[tensor.name] = (_DTYPES.get(tensor.data_type, "unknown"), tuple(tensor.dims), size)
    return forms


def _integers(main: Any) -> set[str]:
    """The values that come from a DequantizeLinear or go to QuantizeLinear only, ends of the model excepted."""
    io = {value.name for value in (*main.input, *main.output)}
    read: dict[str, set[str]] = {}
    for node in main.node:
        for name in node.input:
            read.setdefault(name, set()).add(node.op_type)
    widened = {node.output[0] for node in main.node if node.op_type == _FROM}
    return (widened | {name for name, readers in read.items() if readers == {_TO}}) - io


def _tensor(index: int, name: str, forms: dict[str, tuple[str, tuple[int, ...], int]], integer: bool) -> Tensor:
    dtype, shape, size = forms.get(name, ("unknown", (), 0))
    return Tensor(index, name, "int8" if integer else dtype, shape, shape, size)


def _op(at: int, node: Any, index: dict[str, int]) -> Op:
    inputs, outputs = ([index[name] for name in names if name] for names in (node.input, node.output))
    custom = node.domain not in {"", "ai.onnx"}
    return Op(at, node.op_type, 1, custom, tuple(inputs), tuple(outputs), _window(node))


def _window(node: Any) -> int:
    return next((prod(a.ints) for a in node.attribute if a.name == "kernel_shape"), 1)
