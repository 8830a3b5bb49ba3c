"""Operators that compute each element by itself: they take a value in whatever order it is held."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import numpy as np

from skerry_host.builder.lowering.order import UNIT, Order, Shape, held, of_axes, plain
from skerry_host.builder.lowering.values import INFINITE, Array, Lowering, Node, UnknownFormError, Value

Lower = Callable[[Lowering, Node], None]
_NOT_NEGATIVE = {"RELU", "RELU6", "LOGISTIC", "RELU_0_TO_1", "EXP", "ABS", "SQRT", "RSQRT"}


def apply(low: Lowering, value: Value, kind: str, written: str, options: Any = None, dtype: Any = None) -> Value:
    """One operator of one input, in the order that it is held in."""
    order = low.held_order(value)
    read, form = low.tensor(value, order), (held(value.shape, order), dtype or value.dtype)
    made = low.emit(kind, [read], form, written, options)
    least = 0.0 if kind in _NOT_NEGATIVE else -INFINITE
    return low.define(written, made, order, (value.shape, dtype or value.dtype), least)


def unary(kind: str, options: Callable[[], Any] | None = None) -> Lower:
    """An operator that TFLite has under another name."""

    def lower(low: Lowering, node: Node) -> None:
        apply(low, low.value(node, 0), kind, node.outputs[0], options() if options else None)

    return lower


def same(low: Lowering, node: Node) -> None:
    """An operator that does nothing when a model is used."""
    low.rename(node.outputs[0], low.value(node, 0))


def common_order(low: Lowering, values: list[Value], shape: Shape) -> Order:
    """The order in which values are computed with each other: of the largest that has all axes of the result."""
    whole = [value for value in values if value.constant is None and value.rank == len(shape)]
    if not whole:
        return plain(len(shape))
    return low.held_order(
        max(whole, key=lambda value: (np.prod(value.shape), low.held_order(value) != plain(value.rank)))
    )


def operand(low: Lowering, value: Value, order: Order, rank: int) -> int:
    """The tensor of an operand that TFLite spreads (broadcasts) over a result of that order."""
    missing = rank - value.rank
    if value.constant is not None:
        wide = value.constant.reshape((1,) * missing + value.shape).transpose(of_axes(order))
        wide = wide.reshape([1 if axis == UNIT else wide.shape[of_axes(order).index(axis)] for axis in order])
        while wide.ndim > 1 and wide.shape[0] == 1:
            wide = wide[0]
        return low.writer.constant(value.name, wide if wide.ndim else wide.reshape(1))
    if not missing:
        return low.tensor(value, order)
    own = of_axes(low.held_order(value))
    widened = (*range(missing), *(axis + missing for axis in own))
    shape = (1,) * missing + value.shape
    made = low.reshape(low.tensor(value, own), held(shape, widened), value.dtype, value.name)
    return low.tensor(Value(value.name, shape, value.dtype, tensors={widened: made}), order)


def combine(low: Lowering, kind: str, pair: tuple[Value, Value], written: str, dtype: Any = None) -> Value:
    """One operator of two inputs, that spreads the smaller over the larger."""
    shape = tuple(np.broadcast_shapes(pair[0].shape, pair[1].shape))
    narrow = [value.narrow or value for value in pair]
    if tuple(np.broadcast_shapes(narrow[0].shape, narrow[1].shape)) != shape:
        narrow = list(pair)
    order = common_order(low, narrow, shape)
    reads = [operand(low, value, order, len(shape)) for value in narrow]
    form = (held(shape, order), dtype or pair[0].dtype)
    made = low.emit(kind, reads, form, written)
    least = -INFINITE
    if kind in {"ADD", "MUL"} and all(value.least >= 0 for value in pair):
        least = 0.0
    return low.define(written, made, order, (shape, dtype or pair[0].dtype), least)


def binary(kind: str, dtype: Any = None) -> Lower:
    """An operator of two or more inputs, taken in pairs."""

    def lower(low: Lowering, node: Node) -> None:
        values = [low.value(node, at) for at in range(len(node.inputs))]
        values = [value for value in values if not _neutral(kind, value)] or values
        if len(values) == 1:
            low.rename(node.outputs[0], values[0])
            return
        found = values[0]
        for at, other in enumerate(values[1:], 2):
            name = node.outputs[0] if at == len(values) else f"{node.outputs[0]}/{at}"
            found = combine(low, kind, (found, other), name, dtype)

    return lower


def _neutral(kind: str, value: Value) -> bool:
    """Whether a number changes nothing: infinity as a limit, which exporters write, and which has no int8 form."""
    limit = {"MAXIMUM": -inf, "MINIMUM": inf}.get(kind)
    return limit is not None and value.constant is not None and value.constant.size == 1 and value.constant == limit


def scaled(low: Lowering, value: Value, kind: str, number: float, written: str) -> Value:
    """A value and a number."""
    return combine(low, kind, (value, constant(np.array([number], np.float32), f"{written}/by")), written)


def constant(values: Array, name: str) -> Value:
    """A value that is known, and that the graph does not name."""
    return Value(name, values.shape, values.dtype, constant=values)


def divide(low: Lowering, node: Node) -> None:
    """By a constant it is a multiplication, which has an int8 form."""
    value, by = low.value(node, 0), low.value(node, 1)
    if by.constant is not None and by.dtype == np.float32 and np.all(by.constant != 0):
        inverse = constant((1 / by.constant.astype(np.float64)).astype(np.float32), f"{by.name}/inverse")
        combine(low, "MUL", (value, inverse), node.outputs[0])
        return
    combine(low, "DIV", (value, by), node.outputs[0])


def power(low: Lowering, node: Node) -> None:
    """Small whole powers as products, roots as SQRT and RSQRT."""
    value, exponent, name = low.value(node, 0), low.value(node, 1), node.outputs[0]
    number = None if exponent.constant is None or exponent.constant.size != 1 else float(exponent.constant.ravel()[0])
    if number == 1:
        low.rename(name, value)
    elif number == 2:
        combine(low, "MUL", (value, value), name).least = 0.0
    elif number == 3:
        combine(low, "MUL", (combine(low, "MUL", (value, value), f"{name}/square"), value), name)
    elif number in {0.5, -0.5}:
        apply(low, value, "SQRT" if number > 0 else "RSQRT", name)
    elif value.dtype == exponent.dtype:
        combine(low, "POW", (value, exponent), name)
    else:
        raise UnknownFormError("Pow of different types")


def reciprocal(low: Lowering, node: Node) -> None:
    """1 / x."""
    one = constant(np.array([1], np.float32), f"{node.outputs[0]}/one")
    combine(low, "DIV", (one, low.value(node, 0)), node.outputs[0])


def cast(low: Lowering, node: Node) -> None:
    """Cast between the types that are left: float32, int32, bool."""
    value, dtype = low.value(node, 0), np.dtype(node.get("dtype"))
    if dtype == value.dtype:
        same(low, node)
        return
    apply(low, value, "CAST", node.outputs[0], None, dtype)


def where(low: Lowering, node: Node) -> None:
    """Where."""
    values = [low.value(node, at) for at in range(3)]
    shape = tuple(np.broadcast_shapes(*(value.shape for value in values)))
    order = common_order(low, values, shape)
    reads = [operand(low, value, order, len(shape)) for value in values]
    made = low.emit("SELECT_V2", reads, (held(shape, order), values[1].dtype), node.outputs[0])
    low.define(node.outputs[0], made, order, (shape, values[1].dtype))


def mean_of_all(low: Lowering, node: Node) -> None:
    """Mean of several values."""
    name = node.outputs[0]
    total = Node("Sum", node.name, node.inputs, (f"{name}/sum",), {}, node.opset)
    binary("ADD")(low, total)
    scaled(low, low.values[total.outputs[0]], "MUL", 1 / len(node.inputs), name)


_compare = partial(binary, dtype=np.bool_)
OPERATORS: dict[str, Lower] = {
    "Abs": unary("ABS"),
    "Add": binary("ADD"),
    "And": _compare("LOGICAL_AND"),
    "Cast": cast,
    "CastLike": same,
    "Ceil": unary("CEIL"),
    "Cos": unary("COS"),
    "Div": divide,
    "Dropout": same,
    "Equal": _compare("EQUAL"),
    "Exp": unary("EXP"),
    "Floor": unary("FLOOR"),
    "Greater": _compare("GREATER"),
    "GreaterOrEqual": _compare("GREATER_EQUAL"),
    "HardSwish": unary("HARD_SWISH"),
    "Identity": same,
    "Less": _compare("LESS"),
    "LessOrEqual": _compare("LESS_EQUAL"),
    "Log": unary("LOG"),
    "Max": binary("MAXIMUM"),
    "Mean": mean_of_all,
    "Min": binary("MINIMUM"),
    "Mul": binary("MUL"),
    "Neg": unary("NEG"),
    "Not": unary("LOGICAL_NOT"),
    "Or": _compare("LOGICAL_OR"),
    "Pow": power,
    "Reciprocal": reciprocal,
    "Relu": unary("RELU"),
    "Round": unary("ROUND"),
    "Rsqrt": unary("RSQRT"),
    "Sigmoid": unary("LOGISTIC"),
    "Sin": unary("SIN"),
    "Sqrt": unary("SQRT"),
    "Sub": binary("SUB"),
    "Sum": binary("ADD"),
    "Tanh": unary("TANH"),
    "Where": where,
}
