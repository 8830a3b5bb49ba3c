"""Pools over one and two dimensions, and over all of space."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.convolution import Window, flat, padded, window
from skerry_host.builder.lowering.elementwise import combine, constant
from skerry_host.builder.lowering.order import held
from skerry_host.builder.lowering.padding import pad_value
from skerry_host.builder.lowering.reductions import reduced
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError, Value

_SAME, _VALID = schema.Padding.SAME, schema.Padding.VALID


def _window(node: Node, value: Value) -> Window:
    """The operator's window; with ceil_mode it goes on where it begins inside or in the padding before."""
    seen = window(node, node.get("kernel_shape"), value.shape[2:])
    if max(seen.dilation) > 1 or value.rank not in {3, 4}:
        raise UnknownFormError(f"{node.kind} that is dilated, or over three dimensions")
    if not node.get("ceil_mode", 0):
        return seen
    after = []
    for n, b, a, k, s in zip(value.shape[2:], seen.before, seen.after, seen.kernel, seen.stride, strict=True):
        count = -(-(n + b + a - k) // s) + 1
        count -= (count - 1) * s >= n + b
        after.append(max(a, (count - 1) * s + k - n - b))
    return replace(seen, after=tuple(after))


def _pool(low: Lowering, value: Value, kind: str, how: tuple[Window, int], written: str) -> Value:
    seen, padding = how
    options = schema.Pool2DOptionsT()
    options.filterHeight, options.filterWidth = (1, *seen.kernel)[-2:]
    options.strideH, options.strideW = (1, *seen.stride)[-2:]
    options.padding = padding
    order = flat(value.rank)
    whole = seen if padding == _SAME else replace(seen, before=(0,) * len(seen.kernel), after=(0,) * len(seen.kernel))
    shape = (*value.shape[:2], *whole.size(value.shape[2:]))
    tensor = low.emit(kind, [low.tensor(value, order)], (held(shape, order), value.dtype), written, options)
    return low.define(written, tensor, order, (shape, value.dtype), value.least)


def max_pool(low: Lowering, node: Node) -> None:
    """MaxPool: padding never wins. After a clamp at zero it is zero, else the edge repeated, if that is enough."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnknownFormError("MaxPool that says where the maxima are")
    value = low.value(node, 0)
    seen = _cut(_window(node, value), value)
    edges_suffice = all(2 * max(b, a) <= k for b, a, k in zip(seen.before, seen.after, seen.kernel, strict=True))
    if value.least < 0 and not edges_suffice and not seen.same(value.shape[2:]):
        raise UnknownFormError("MaxPool with so much padding")
    how = ("constant", 0.0) if value.least >= 0 else ("symmetric", 0.0)
    source, padding = padded(low, value, seen, node.outputs[0], how)
    _pool(low, source, "MAX_POOL_2D", (seen, padding), node.outputs[0])


def _cut(seen: Window, value: Value) -> Window:
    """The window without padding after the last step that it takes."""
    size = seen.size(value.shape[2:])
    after = tuple(
        max(0, (count - 1) * s + k - n - b)
        for count, s, k, n, b in zip(size, seen.stride, seen.kernel, value.shape[2:], seen.before, strict=True)
    )
    return replace(seen, after=after)


def average_pool(low: Lowering, node: Node) -> None:
    """AveragePool: what pads is counted, or made up for by a constant for each place."""
    value, name = low.value(node, 0), node.outputs[0]
    seen = _cut(_window(node, value), value)
    counted = bool(node.get("count_include_pad", 0))
    inner, padding = value, _VALID
    if any((*seen.before, *seen.after)):
        if seen.same(value.shape[2:]) and not counted:
            padding = _SAME
        else:
            widths = ((0, 0, *seen.before), (0, 0, *seen.after))
            inner = pad_value(low, value, widths, f"{name}/padded", ("constant", 0.0))
    share = _shares(node, seen, value, counted=counted) if padding == _VALID else None
    if share is None or np.allclose(share, 1):
        _pool(low, inner, "AVERAGE_POOL_2D", (seen, padding), name)
        return
    found = _pool(low, inner, "AVERAGE_POOL_2D", (seen, padding), f"{name}/mean")
    combine(low, "MUL", (found, constant(share, f"{name}/share")), name)


def _shares(node: Node, seen: Window, value: Value, *, counted: bool) -> Array:
    """By what the mean over the kernel is multiplied at each place: kernel elements by elements that count."""
    given = node.get("pads") or [0] * 2 * len(seen.kernel)
    factors = np.ones((1, 1), np.float32)
    for at, (n, k, s) in enumerate(zip(value.shape[2:], seen.kernel, seen.stride, strict=True)):
        before, after = seen.before[at], given[at + len(seen.kernel)]
        ends = (-before, n + after) if counted else (0, n)
        starts = np.arange(seen.size(value.shape[2:])[at]) * s - before
        inside = np.minimum(starts + k, ends[1]) - np.maximum(starts, ends[0])
        factors = factors[..., None] * (k / np.maximum(inside, 1)).astype(np.float32)
    return factors


def global_average(low: Lowering, node: Node) -> None:
    """GlobalAveragePool."""
    value = low.value(node, 0)
    reduced(low, value, "MEAN", (tuple(range(2, value.rank)), True), node.outputs[0])


def global_max(low: Lowering, node: Node) -> None:
    """GlobalMaxPool."""
    value = low.value(node, 0)
    if value.rank not in {3, 4}:
        raise UnknownFormError("GlobalMaxPool over three dimensions")
    none = (0,) * (value.rank - 2)
    ones = (1,) * (value.rank - 2)
    seen = Window(value.shape[2:], ones, ones, none, none)
    _pool(low, value, "MAX_POOL_2D", (seen, _VALID), node.outputs[0])


OPERATORS: dict[str, Callable[[Lowering, Node], None]] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "MaxPool": max_pool,
}
