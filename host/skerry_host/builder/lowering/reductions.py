"""Operators over some axes: sums, means, extremes, softmax, normalisations."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import apply, combine, constant, scaled
from skerry_host.builder.lowering.order import UNIT, Order, held, of_axes, plain, without
from skerry_host.builder.lowering.shaping import reshape_to
from skerry_host.builder.lowering.values import INFINITE, Lowering, Node, UnknownFormError, Value

Lower = Callable[[Lowering, Node], None]


def reduced(low: Lowering, value: Value, kind: str, how: tuple[Sequence[int], bool], written: str) -> Value:
    """A value over some of its axes; `how` are these, and whether they stay with size 1."""
    axes, kept = how
    if not axes:
        low.rename(written, value)
        return value
    order = low.held_order(value)
    places = sorted(order.index(axis) for axis in axes)
    options = schema.ReducerOptionsT()
    options.keepDims = kept
    left = order if kept else without(order, axes)
    if kept:
        shape: tuple[int, ...] = tuple(1 if at in axes else n for at, n in enumerate(value.shape))
    else:
        shape = tuple(n for at, n in enumerate(value.shape) if at not in axes)
    sizes = held(shape, left) if kept else tuple(n for at, n in enumerate(held(value.shape, order)) if at not in places)
    reads = [low.tensor(value, order), low.numbers(places)]
    made = low.emit(kind, reads, (sizes, value.dtype), written, options)
    if not kept and UNIT in order:
        left = _with_units(order, axes)
    least = value.least if kind != "SUM" or value.least >= 0 else -INFINITE
    return low.define(written, made, left, (shape, value.dtype), least)


def _with_units(order: Order, axes: Sequence[int]) -> Order:
    """`without`, with the axes that the value does not have."""
    named = iter(without(order, axes))
    return tuple(UNIT if axis == UNIT else next(named) for axis in order if axis not in axes)


def reduction(kind: str, before: str = "", after: str = "") -> Lower:
    """A reduction, of what an operator makes of the value, and what another makes of the result."""

    def lower(low: Lowering, node: Node) -> None:
        value, name = low.value(node, 0), node.outputs[0]
        axes = low.known(node, 1, "axes", None)
        if not axes:
            axes = [] if node.get("noop_with_empty_axes", 0) else list(range(value.rank))
        over = tuple(sorted({axis % value.rank for axis in axes})) if value.rank else ()
        if before == "SQUARE":
            value = combine(low, "MUL", (value, value), f"{name}/{before.lower()}")
            value.least = 0.0
        elif before:
            value = apply(low, value, before, f"{name}/{before.lower()}")
        found = reduced(low, value, kind, (over, bool(node.get("keepdims", 1))), f"{name}/{kind}" if after else name)
        if after:
            apply(low, found, after, name)

    return lower


def log_sum_exp(low: Lowering, node: Node) -> None:
    """ReduceLogSumExp, from the largest on so that nothing overflows."""
    value, name = low.value(node, 0), node.outputs[0]
    axes = low.known(node, 1, "axes", None) or list(range(value.rank))
    over = tuple(sorted({axis % value.rank for axis in axes}))
    kept = bool(node.get("keepdims", 1))
    most = reduced(low, value, "REDUCE_MAX", (over, True), f"{name}/most")
    share = apply(low, combine(low, "SUB", (value, most), f"{name}/less"), "EXP", f"{name}/exp")
    total = apply(low, reduced(low, share, "SUM", (over, kept), f"{name}/sum"), "LOG", f"{name}/log")
    if not kept:
        reshape_to(low, most, total.shape, f"{name}/at")
        most = low.values[f"{name}/at"]
    combine(low, "ADD", (total, most), name)


def _last(low: Lowering, value: Value, axis: int) -> Order:
    """An order with an axis at the end: the one that it is held in, if it is so there."""
    order = low.held_order(value)
    if order[-1] == axis:
        return order
    return (*(other for other in range(value.rank) if other != axis), axis)


def softmax(kind: str) -> Lower:
    """Softmax along one axis; before version 13 of the operators, over it and all that follow."""

    def lower(low: Lowering, node: Node) -> None:
        value, name = low.value(node, 0), node.outputs[0]
        old = node.opset < 13
        axis = node.get("axis", 1 if old else -1) % value.rank
        if old and axis != value.rank - 1:
            together = (*value.shape[:axis], prod(value.shape[axis:]))
            reshape_to(low, value, together, f"{name}/together")
            _softmax(low, low.values[f"{name}/together"], kind, axis, f"{name}/shares")
            reshape_to(low, low.values[f"{name}/shares"], value.shape, name)
            return
        _softmax(low, value, kind, axis, name)

    return lower


def _softmax(low: Lowering, value: Value, kind: str, axis: int, written: str) -> None:
    order = _last(low, value, axis)
    options: Any = None
    if kind == "SOFTMAX":
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
    made = low.emit(kind, [low.tensor(value, order)], (held(value.shape, order), value.dtype), written, options)
    low.define(written, made, order, (value.shape, value.dtype), 0.0 if kind == "SOFTMAX" else -INFINITE)


def arg(kind: str) -> Lower:
    """ArgMax and ArgMin, as int32."""

    def lower(low: Lowering, node: Node) -> None:
        value, name = low.value(node, 0), node.outputs[0]
        if node.get("select_last_index", 0):
            raise UnknownFormError(f"{node.kind} that takes the last")
        axis = node.get("axis", 0) % value.rank
        order = of_axes(low.held_order(value))
        options = schema.ArgMaxOptionsT() if kind == "ARG_MAX" else schema.ArgMinOptionsT()
        options.outputType = schema.TensorType.INT32
        left = without(order, (axis,))
        shape = tuple(n for at, n in enumerate(value.shape) if at != axis)
        kept = bool(node.get("keepdims", 1))
        reads = [low.tensor(value, order), low.numbers([order.index(axis)])]
        written = f"{name}/flat" if kept else name
        made = low.emit(kind, reads, (held(shape, left), np.int32), written, options)
        found = low.define(written, made, left, (shape, np.int32))
        if kept:
            reshape_to(low, found, tuple(1 if at == axis else n for at, n in enumerate(value.shape)), name)

    return lower


def normalised(low: Lowering, value: Value, axes: Sequence[int], epsilon: float, written: str) -> Value:
    """(x - mean) / sqrt(variance + epsilon) over some axes."""
    mean = reduced(low, value, "MEAN", (axes, True), f"{written}/mean")
    centred = combine(low, "SUB", (value, mean), f"{written}/centred")
    variance = reduced(
        low, combine(low, "MUL", (centred, centred), f"{written}/squared"), "MEAN", (axes, True), f"{written}/variance"
    )
    inverse = apply(low, scaled(low, variance, "ADD", epsilon, f"{written}/safe"), "RSQRT", f"{written}/inverse")
    return combine(low, "MUL", (centred, inverse), written)


def affine(
    low: Lowering, value: Value, pair: tuple[Value | None, Value | None], shape: Sequence[int], name: str
) -> None:
    """A value times a constant, plus a constant, both seen in `shape`."""
    for kind, other in zip(("MUL", "ADD"), pair, strict=True):
        if other is None:
            continue
        if other.constant is None:
            raise UnknownFormError("a normalisation whose scale is computed")
        seen = constant(other.constant.reshape(tuple(shape)), other.name)
        last = kind == "ADD" or pair[1] is None
        value = combine(low, kind, (value, seen), name if last else f"{name}/{kind.lower()}")
    low.rename(name, value)


def layer_norm(low: Lowering, node: Node) -> None:
    """LayerNormalization over an axis and all that follow."""
    value, name = low.value(node, 0), node.outputs[0]
    axis = node.get("axis", -1) % value.rank
    found = normalised(low, value, tuple(range(axis, value.rank)), node.get("epsilon", 1e-5), f"{name}/normal")
    affine(low, found, (low.value(node, 1), low.optional(node, 2)), value.shape[axis:], name)


def rms_norm(low: Lowering, node: Node) -> None:
    """RMSNormalization."""
    value, name = low.value(node, 0), node.outputs[0]
    axis = node.get("axis", -1) % value.rank
    over = (tuple(range(axis, value.rank)), True)
    power = reduced(low, combine(low, "MUL", (value, value), f"{name}/squared"), "MEAN", over, f"{name}/power")
    safe = scaled(low, power, "ADD", node.get("epsilon", 1e-5), f"{name}/safe")
    found = combine(low, "MUL", (value, apply(low, safe, "RSQRT", f"{name}/inverse")), f"{name}/normal")
    affine(low, found, (low.value(node, 1), None), value.shape[axis:], name)


def instance_norm(low: Lowering, node: Node) -> None:
    """InstanceNormalization."""
    value, name = low.value(node, 0), node.outputs[0]
    space = tuple(range(2, value.rank))
    found = normalised(low, value, space, node.get("epsilon", 1e-5), f"{name}/normal")
    affine(low, found, (low.value(node, 1), low.value(node, 2)), (-1, *(1 for _axis in space)), name)


def group_norm(low: Lowering, node: Node) -> None:
    """GroupNormalization: before version 21 with a scale for each group, after it for each channel."""
    value, name, groups = low.value(node, 0), node.outputs[0], node.get("num_groups")
    count, channels, *space = value.shape
    reshape_to(low, value, (count, groups, channels // groups, *space), f"{name}/groups")
    seen = low.values[f"{name}/groups"]
    found = normalised(low, seen, tuple(range(2, seen.rank)), node.get("epsilon", 1e-5), f"{name}/normal")
    reshape_to(low, found, value.shape, f"{name}/whole")
    pair = [low.value(node, at) for at in (1, 2)]
    if any(other.constant is None for other in pair):
        raise UnknownFormError("GroupNormalization whose scale is computed")
    wide = [np.repeat(v.constant, channels // v.shape[0]) for v in pair if v.constant is not None]
    scale, bias = (constant(values, v.name) for values, v in zip(wide, pair, strict=True))
    affine(low, low.values[f"{name}/whole"], (scale, bias), (-1, *(1 for _n in space)), name)


def batch_norm(low: Lowering, node: Node) -> None:
    """BatchNormalization as it is in use: a scale and a shift for each channel."""
    value, name = low.value(node, 0), node.outputs[0]
    given = [low.value(node, at).constant for at in range(1, 5)]
    if any(part is None for part in given):
        raise UnknownFormError("BatchNormalization whose statistics are computed")
    scale, bias, mean, variance = (np.asarray(part, np.float64) for part in given)
    factor = scale / np.sqrt(variance + node.get("epsilon", 1e-5))
    shape = (-1, *(1 for _axis in range(value.rank - 2)))
    pair = (factor.astype(np.float32), (bias - mean * factor).astype(np.float32))
    affine(low, value, (constant(pair[0], f"{name}/scale"), constant(pair[1], f"{name}/shift")), shape, name)


def lp_norm(low: Lowering, node: Node) -> None:
    """LpNormalization: by the square root of the sum of squares, or the sum of magnitudes."""
    value, name = low.value(node, 0), node.outputs[0]
    axis = node.get("axis", -1) % value.rank
    if node.get("p", 2) == 1:
        size = apply(low, value, "ABS", f"{name}/size")
        combine(low, "DIV", (value, reduced(low, size, "SUM", ((axis,), True), f"{name}/sum")), name)
        return
    squared = combine(low, "MUL", (value, value), f"{name}/squared")
    power = reduced(low, squared, "SUM", ((axis,), True), f"{name}/power")
    combine(low, "MUL", (value, apply(low, power, "RSQRT", f"{name}/inverse")), name)


def _plain_cumulative(low: Lowering, node: Node) -> None:
    """CumSum."""
    value, name = low.value(node, 0), node.outputs[0]
    axis = int(np.ravel(low.known(node, 1))[0]) % value.rank
    options = schema.CumsumOptionsT()
    options.exclusive, options.reverse = bool(node.get("exclusive", 0)), bool(node.get("reverse", 0))
    reads = [low.tensor(value), low.numbers([axis])]
    made = low.emit("CUMSUM", reads, (value.shape, value.dtype), name, options)
    low.define(name, made, plain(value.rank), (value.shape, value.dtype))


OPERATORS: dict[str, Lower] = {
    "ArgMax": arg("ARG_MAX"),
    "ArgMin": arg("ARG_MIN"),
    "BatchNormalization": batch_norm,
    "CumSum": _plain_cumulative,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LogSoftmax": softmax("LOG_SOFTMAX"),
    "LpNormalization": lp_norm,
    "RMSNormalization": rms_norm,
    "ReduceL1": reduction("SUM", before="ABS"),
    "ReduceL2": reduction("SUM", before="SQUARE", after="SQRT"),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceMax": reduction("REDUCE_MAX"),
    "ReduceMean": reduction("MEAN"),
    "ReduceMin": reduction("REDUCE_MIN"),
    "ReduceProd": reduction("REDUCE_PROD"),
    "ReduceSum": reduction("SUM"),
    "ReduceSumSquare": reduction("SUM", before="SQUARE"),
    "Softmax": softmax("SOFTMAX"),
}
