"""Activation functions: those of TFLite, and others put together from its operators."""

from math import inf

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import Lower, apply, combine, operand, scaled
from skerry_host.builder.lowering.order import held
from skerry_host.builder.lowering.values import Lowering, Node, UnknownFormError

_CLIPS = {(0.0, 6.0): "RELU6", (0.0, inf): "RELU", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}


def clip(low: Lowering, node: Node) -> None:
    """A clamp: one of TFLite's own where it is one of these, else MAXIMUM and MINIMUM."""
    ends = (low.known(node, 1, "min"), low.known(node, 2, "max"))
    least, most = (
        limit if end is None else float(np.ravel(end)[0]) for end, limit in zip(ends, (-inf, inf), strict=True)
    )
    least = -inf if least <= -3.4e38 else least
    most = inf if most >= 3.4e38 else most
    value, written = low.value(node, 0), node.outputs[0]
    if (least, most) in _CLIPS:
        apply(low, value, _CLIPS[least, most], written)
        return
    if least == 0:
        value = apply(low, value, "RELU", written if most == inf else f"{written}/least")
    elif least > -inf:
        value = scaled(low, value, "MAXIMUM", least, written if most == inf else f"{written}/least")
    if most < inf:
        value = scaled(low, value, "MINIMUM", most, written)
    value.least = max(value.least, least)
    low.rename(written, value)


def leaky(low: Lowering, node: Node) -> None:
    """LeakyRelu."""
    options = schema.LeakyReluOptionsT()
    options.alpha = node.get("alpha", 0.01)
    apply(low, low.value(node, 0), "LEAKY_RELU", node.outputs[0], options)


def prelu(low: Lowering, node: Node) -> None:
    """PRelu; slopes of one for each channel have one axis."""
    value, slope = low.value(node, 0), low.value(node, 1)
    if slope.constant is None:
        raise UnknownFormError("PRelu whose slopes are computed")
    order = low.held_order(value)
    reads = [low.tensor(value, order), operand(low, slope, order, value.rank)]
    made = low.emit("PRELU", reads, (held(value.shape, order), value.dtype), node.outputs[0])
    low.define(node.outputs[0], made, order, (value.shape, value.dtype))


def elu(low: Lowering, node: Node) -> None:
    """Elu, Celu and Selu: ELU itself, or a scaled sum of what is above zero and the curve of what is below."""
    value, name, alpha = (
        low.value(node, 0),
        node.outputs[0],
        node.get("alpha", 1.6732632 if node.kind == "Selu" else 1.0),
    )
    if alpha == 1.0 and node.kind != "Selu":
        apply(low, value, "ELU", name)
        return
    negative = scaled(low, value, "MINIMUM", 0.0, f"{name}/negative")
    if node.kind == "Celu":
        negative = scaled(low, negative, "MUL", 1 / alpha, f"{name}/steeper")
    curve = scaled(low, apply(low, negative, "ELU", f"{name}/curve"), "MUL", alpha, f"{name}/alpha")
    gamma = node.get("gamma", 1.0507010) if node.kind == "Selu" else 1.0
    total = combine(low, "ADD", (apply(low, value, "RELU", f"{name}/positive"), curve), f"{name}/total")
    low.rename(name, total if gamma == 1.0 else scaled(low, total, "MUL", gamma, name))


def softsign(low: Lowering, node: Node) -> None:
    """Softsign: x / (1 + |x|)."""
    value, name = low.value(node, 0), node.outputs[0]
    size = scaled(low, apply(low, value, "ABS", f"{name}/size"), "ADD", 1.0, f"{name}/below")
    combine(low, "DIV", (value, size), name)


def gelu(low: Lowering, node: Node) -> None:
    """Gelu, exact or by tanh."""
    options = schema.GeluOptionsT()
    options.approximate = node.text("approximate", "none") == "tanh"
    apply(low, low.value(node, 0), "GELU", node.outputs[0], options)


def softplus(low: Lowering, node: Node) -> None:
    """log(1 + exp(x)) as relu(x) - log(sigmoid(|x|)), in which nothing grows."""
    value, name = low.value(node, 0), node.outputs[0]
    positive = apply(low, value, "RELU", f"{name}/positive")
    share = apply(low, apply(low, value, "ABS", f"{name}/abs"), "LOGISTIC", f"{name}/share")
    combine(low, "SUB", (positive, apply(low, share, "LOG", f"{name}/log")), name)


def mish(low: Lowering, node: Node) -> None:
    """X tanh(softplus(x))."""
    value, name = low.value(node, 0), node.outputs[0]
    inner = Node("Softplus", node.name, node.inputs, (f"{name}/softplus",), {}, node.opset)
    softplus(low, inner)
    combine(low, "MUL", (value, apply(low, low.values[inner.outputs[0]], "TANH", f"{name}/tanh")), name)


def swish(low: Lowering, node: Node) -> None:
    """X sigmoid(alpha x)."""
    value, name, alpha = low.value(node, 0), node.outputs[0], node.get("alpha", 1.0)
    inner = value if alpha == 1.0 else scaled(low, value, "MUL", alpha, f"{name}/inner")
    combine(low, "MUL", (value, apply(low, inner, "LOGISTIC", f"{name}/gate")), name)


def hard_sigmoid(low: Lowering, node: Node) -> None:
    """RELU6(6 a x + 6 b) / 6."""
    name = node.outputs[0]
    slope = scaled(low, low.value(node, 0), "MUL", 6 * node.get("alpha", 0.2), f"{name}/scaled")
    moved = scaled(low, slope, "ADD", 6 * node.get("beta", 0.5), f"{name}/shifted")
    scaled(low, apply(low, moved, "RELU6", f"{name}/clipped"), "MUL", 1 / 6, name)


OPERATORS: dict[str, Lower] = {
    "Celu": elu,
    "Clip": clip,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky,
    "Mish": mish,
    "PRelu": prelu,
    "Selu": elu,
    "Softplus": softplus,
    "Softsign": softsign,
    "Swish": swish,
}
