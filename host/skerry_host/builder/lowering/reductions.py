"""Operators over some axes: sums, means, extremes, softmax, normalisations."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import apply, combine
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


def top_k(low: Lowering, node: Node) -> None:
    """TopK along one axis: the largest, in their order."""
    value, count = low.value(node, 0), int(np.ravel(low.known(node, 1, "k"))[0])
    axis = node.get("axis", -1) % value.rank
    if not node.get("largest", 1) or value.shape[axis] < count:
        raise UnknownFormError("TopK of the smallest")
    order = _last(low, value, axis)
    shape = tuple(count if at == axis else n for at, n in enumerate(value.shape))
    names = [name or f"{node.name}/{at}" for at, name in enumerate((*node.outputs, "")[:2])]
    forms = [value.dtype, np.dtype(np.int32)]
    made = [low.writer.tensor(name, held(shape, order), dtype) for name, dtype in zip(names, forms, strict=True)]
    reads = [low.tensor(value, order), low.numbers([count])]
    low.writer.operator("TOPK_V2", reads, made, schema.TopKV2OptionsT())
    for name, tensor, dtype in zip(names, made, forms, strict=True):
        low.define(name, tensor, order, (shape, dtype))


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
    "CumSum": _plain_cumulative,
    "LogSoftmax": softmax("LOG_SOFTMAX"),
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
    "TopK": top_k,
}
