"""Normalisations, as means, products and roots, which have int8 forms."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import Lower, apply, combine, constant, scaled
from skerry_host.builder.lowering.order import channels_last, held
from skerry_host.builder.lowering.reductions import reduced
from skerry_host.builder.lowering.shaping import reshape_to
from skerry_host.builder.lowering.values import Lowering, Node, UnknownFormError, Value


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


def mean_variance(low: Lowering, node: Node) -> None:
    """MeanVarianceNormalization."""
    value = low.value(node, 0)
    axes = tuple(axis % value.rank for axis in node.get("axes") or (0, 2, 3))
    normalised(low, value, axes, 1e-9, node.outputs[0])


def local_response(low: Lowering, node: Node) -> None:
    """LRN, over channels."""
    value, name, size = low.value(node, 0), node.outputs[0], node.get("size")
    if value.rank != 4 or size % 2 == 0:
        raise UnknownFormError("LRN of an even size, or of no image")
    options, order = schema.LocalResponseNormalizationOptionsT(), channels_last(4)
    options.radius, options.bias = (size - 1) // 2, node.get("bias", 1.0)
    options.alpha, options.beta = node.get("alpha", 1e-4) / size, node.get("beta", 0.75)
    form = (held(value.shape, order), value.dtype)
    made = low.emit("LOCAL_RESPONSE_NORMALIZATION", [low.tensor(value, order)], form, name, options)
    low.define(name, made, order, (value.shape, value.dtype))


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


OPERATORS: dict[str, Lower] = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": local_response,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance,
    "RMSNormalization": rms_norm,
}
