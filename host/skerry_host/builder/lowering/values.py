"""The values of an ONNX graph and the tensors that hold them; what every operator's lowering works with.

A value keeps ONNX's own shape and axes; the tensor that holds it may have them in another order, and is moved (by
TRANSPOSE, or RESHAPE where that is enough) only when an operator needs another one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.order import (
    UNIT,
    Order,
    Shape,
    held,
    of_axes,
    permutation,
    plain,
    same_in_memory,
)
from skerry_host.builder.lowering.writer import ModelWriter

Array = np.ndarray[Any, Any]
INFINITE = float("inf")


class UnknownFormError(Exception):
    """An operator, or a form of it, that is not written as TFLite's here."""


@dataclass(slots=True)
class Value:
    """A value: constant, or held by tensors, one for each order in use; the first is the one it was computed in.

    `least` is what no element is below. `moved` is set while a reshape that needs a TRANSPOSE has not been needed yet:
    the value before, so that constant weights can be moved instead. `narrow` is the value before a broadcast.
    """

    name: str
    shape: Shape
    dtype: Any
    constant: Array | None = None
    tensors: dict[Order, int] = field(default_factory=dict)
    least: float = -INFINITE
    moved: "Value | None" = None
    narrow: "Value | None" = None
    make: Callable[[], tuple[Order, int]] | None = None

    @property
    def order(self) -> Order:
        """The order that it was computed in."""
        return next(iter(self.tensors), plain(len(self.shape)))

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of ONNX with its attributes as Python values."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def text(self, name: str, default: str = "") -> str:
        """An attribute of text, which ONNX holds as bytes."""
        return as_text(self.attributes.get(name, default))


def as_text(value: bytes | str) -> str:
    """Text of ONNX, which holds it as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Lowering:
    """The graph as far as it has been written."""

    def __init__(self) -> None:
        self.writer = ModelWriter()
        self.values: dict[str, Value] = {}

    # -- reading ------------------------------------------------------------------------------------------------------
    def value(self, node: Node, at: int) -> Value:
        """The input of an operator at a place; raises `UnknownFormError` where there is none."""
        if at >= len(node.inputs) or not node.inputs[at]:
            raise UnknownFormError(f"{node.kind} without input {at}")
        return self.values[node.inputs[at]]

    def optional(self, node: Node, at: int) -> Value | None:
        """The input of an operator at a place, None where it is left out."""
        return self.values[node.inputs[at]] if at < len(node.inputs) and node.inputs[at] else None

    def known(self, node: Node, at: int, attribute: str = "", default: Any = None) -> Any:
        """What an attribute says, or in newer versions of the operator a constant input; numbers as a list."""
        if attribute in node.attributes:
            return node.attributes[attribute]
        value = self.optional(node, at)
        if value is None:
            return default
        if value.constant is None:
            raise UnknownFormError(f"{node.kind} whose {attribute or f'input {at}'} is computed")
        return value.constant.tolist()

    def tensor(self, value: Value, order: Order | None = None) -> int:
        """The tensor that holds a value in an order, ONNX's own by default; made where there is none."""
        order = plain(value.rank) if order is None else order
        if value.make is not None:
            make, value.make, value.moved = value.make, None, None
            first, index = make()
            value.tensors[first] = index
        if order not in value.tensors:
            made = self._constant(value, order) if value.constant is not None else self._in_order(value, order)
            value.tensors[order] = made
        return value.tensors[order]

    def held_order(self, value: Value) -> Order:
        """The order that a value is held in already: asking for it moves nothing."""
        if value.make is not None:
            self.tensor(value)
        return value.order

    def _constant(self, value: Value, order: Order) -> int:
        assert value.constant is not None
        moved = value.constant.transpose([axis for axis in order if axis != UNIT])
        return self.writer.constant(value.name, moved.reshape(held(value.shape, order)))

    def _in_order(self, value: Value, order: Order) -> int:
        first = value.order
        source, shape = value.tensors[first], held(value.shape, order)
        if same_in_memory(value.shape, first, order):
            return self.reshape(source, shape, value.dtype, value.name)
        if first.count(UNIT) != order.count(UNIT):
            source = self.reshape(source, held(value.shape, of_axes(first)), value.dtype, value.name)
            first = of_axes(first)
        target = order if first.count(UNIT) == order.count(UNIT) else of_axes(order)
        moved = self.numbers(permutation(first, target))
        form = (held(value.shape, target), value.dtype)
        made = self.emit("TRANSPOSE", [source, moved], form, f"{value.name}/moved")
        return made if target == order else self.reshape(made, shape, value.dtype, value.name)

    # -- writing ------------------------------------------------------------------------------------------------------
    def emit(self, kind: str, reads: Sequence[int], form: tuple[Shape, Any], name: str, options: Any = None) -> int:
        """Add an operator of one output, `form` its shape and dtype; the tensor that it writes."""
        made = self.writer.tensor(name, *form)
        if options is None and kind in _OPTIONS:
            options = _OPTIONS[kind]()
        self.writer.operator(kind, reads, [made], options)
        return made

    def reshape(self, tensor: int, shape: Shape, dtype: Any, name: str) -> int:
        """A RESHAPE."""
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        return self.emit("RESHAPE", [tensor, self.numbers(shape)], (shape, dtype), f"{name}/shaped", options)

    def numbers(self, values: Sequence[int], name: str = "numbers") -> int:
        """A constant of int32."""
        return self.writer.constant(name, np.array(values, np.int32))

    def scalar(self, value: float, name: str = "scalar") -> int:
        """A constant of one float32."""
        return self.writer.constant(name, np.array([value], np.float32))

    def define(self, name: str, tensor: int, order: Order, form: tuple[Shape, Any], least: float = -INFINITE) -> Value:
        """Say which tensor holds a value of the graph; `form` is its shape, as ONNX counts, and its dtype."""
        self.values[name] = Value(name, tuple(form[0]), np.dtype(form[1]), tensors={order: tensor}, least=least)
        return self.values[name]

    def define_constant(self, name: str, values: Array) -> None:
        """A value that is known."""
        least = float(values.min()) if values.size and values.dtype != np.bool_ else -INFINITE
        dtype = np.dtype(np.int32) if values.dtype.kind in "iu" else values.dtype
        self.values[name] = Value(name, values.shape, dtype, constant=values, least=least)

    def rename(self, name: str, value: Value) -> None:
        """Another name for a value."""
        self.values[name] = value


_OPTIONS = {
    "TRANSPOSE": schema.TransposeOptionsT,
    "ADD": schema.AddOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
    "DIV": schema.DivOptionsT,
    "MAXIMUM": schema.MaximumMinimumOptionsT,
    "MINIMUM": schema.MaximumMinimumOptionsT,
    "SQUARED_DIFFERENCE": schema.SquaredDifferenceOptionsT,
    "SELECT_V2": schema.SelectV2OptionsT,
    "GELU": schema.GeluOptionsT,
    "PAD": schema.PadOptionsT,
    "PADV2": schema.PadV2OptionsT,
    "SLICE": schema.SliceOptionsT,
    "TILE": schema.TileOptionsT,
    "BROADCAST_TO": schema.BroadcastToOptionsT,
    "EXP": schema.ExpOptionsT,
    "NEG": schema.NegOptionsT,
    "ABS": schema.AbsOptionsT,
    "POW": schema.PowOptionsT,
    "HARD_SWISH": schema.HardSwishOptionsT,
    "LOG_SOFTMAX": schema.LogSoftmaxOptionsT,
    "CAST": schema.CastOptionsT,
}
"""The options that an operator gets unless others are given: all at their defaults."""
