"""Writes a whole ONNX model as TFLite, with the order of axes of each input and output. Needs fixed shapes.

Runs where the model is parsed, in the child process. Raises `UnknownFormError` for what it cannot write.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from skerry_host.builder.lowering.contributed import DOMAIN, standard
from skerry_host.builder.lowering.order import Order, channels_last, held, plain
from skerry_host.builder.lowering.patterns import with_activations, with_biases, with_roots
from skerry_host.builder.lowering.table import OPERATORS
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError

_DTYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.INT64: np.int32,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.BOOL: np.bool_,
}
_PIXELS = channels_last(4)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A TFLite file; the order in which it takes each input's axes and gives each output's, by name."""

    data: bytes
    inputs: dict[str, Order]
    outputs: dict[str, Order]


def lower(model: Any, planes: set[str]) -> Lowered:
    """The model as TFLite. Inputs named in `planes` are taken as pixels; the others as they are."""
    low, graph = Lowering(), model.graph
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [part for node in graph.node for part in _nodes(node, opset)]
    constants |= {node.outputs[0]: _constant_of(node) for node in nodes if node.kind == "Constant"}
    inputs = _inputs(low, graph, constants, planes)
    for name, values in constants.items():
        low.define_constant(name, _single(values))
    wanted = [value.name for value in graph.output]
    nodes = with_biases(with_activations(with_roots(nodes), constants), constants, wanted)
    for node in _needed(nodes, wanted):
        _lower(low, node)
    outputs = {value.name: _output(low, value.name) for value in graph.output}
    taken = [(name, low.tensor(low.values[name], order)) for name, order in inputs.items()]
    used = {tensor for _name, tensor in taken}
    given = [(name, _own_tensor(low, name, order, used)) for name, order in outputs.items()]
    return Lowered(low.writer.finish(taken, given), inputs, outputs)


def _inputs(low: Lowering, graph: Any, constants: dict[str, Array], planes: set[str]) -> dict[str, Order]:
    orders: dict[str, Order] = {}
    for value in graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        shape = tuple(int(dim.dim_value) for dim in kind.shape.dim)
        if kind.elem_type not in _DTYPES:
            raise UnknownFormError(f"an input of type {onnx.TensorProto.DataType.Name(kind.elem_type)}")
        order = _PIXELS if value.name in planes else plain(len(shape))
        dtype = _DTYPES[kind.elem_type]
        tensor = low.writer.tensor(value.name, held(shape, order), dtype)
        low.define(value.name, tensor, order, (shape, dtype))
        orders[value.name] = order
    return orders


def _output(low: Lowering, name: str) -> Order:
    """The order in which an output is given: maps as pixels, as they are computed, all else as in ONNX."""
    value = low.values[name]
    if value.constant is not None:
        raise UnknownFormError(f"output {name}, which is constant")
    held_in = low.held_order(value)
    return _PIXELS if held_in == _PIXELS else plain(value.rank)


def _own_tensor(low: Lowering, name: str, order: Order, used: set[int]) -> int:
    """The tensor of an output: a copy where it is an input, or another output, too."""
    value = low.values[name]
    tensor = low.tensor(value, order)
    if tensor in used:
        tensor = low.reshape(tensor, held(value.shape, order), value.dtype, name)
    used.add(tensor)
    return tensor


def _nodes(node: Any, opset: int) -> list[Node]:
    """An operator; one that onnxruntime has added as those that it stands for."""
    if node.domain not in {"", "ai.onnx", DOMAIN}:
        raise UnknownFormError(f"{node.domain}.{node.op_type}")
    attributes = {entry.name: _attribute(entry) for entry in node.attribute}
    if node.op_type == "Cast":
        kind = attributes["to"]
        if kind not in _DTYPES:
            raise UnknownFormError(f"Cast to {onnx.TensorProto.DataType.Name(kind)}")
        attributes["dtype"] = _DTYPES[kind]
    made = Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, opset)
    return standard(made) if node.domain == DOMAIN else [made]


def _attribute(entry: Any) -> Any:
    value = helper.get_attribute_value(entry)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _constant_of(node: Node) -> Array:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            kind = np.float32 if "float" in name else np.int64
            found = node.attributes[name]
            return found if name == "value" else np.array(found, kind)
    raise UnknownFormError("Constant of another kind")


def _single(values: Array) -> Array:
    """Floating point as float32, all else as it is."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _needed(nodes: list[Node], wanted: list[str]) -> list[Node]:
    """The operators that the outputs come from, in their order."""
    names, kept = set(wanted), []
    for node in reversed(nodes):
        if node.kind != "Constant" and names & set(node.outputs):
            kept.append(node)
            names |= set(node.inputs)
    return kept[::-1]


def _lower(low: Lowering, node: Node) -> None:
    if node.kind == "Shape":
        start, end = node.get("start", 0), node.get("end")
        low.define_constant(node.outputs[0], np.array(low.value(node, 0).shape[start:end], np.int64))
        return
    if node.kind == "Size":
        low.define_constant(node.outputs[0], np.array(np.prod(low.value(node, 0).shape), np.int64))
        return
    if node.kind not in OPERATORS:
        raise UnknownFormError(node.kind)
    OPERATORS[node.kind](low, node)
