"""Operators of onnxruntime's own domain, com.microsoft, as those of the standard that they stand for."""

from collections.abc import Callable
from dataclasses import replace

from skerry_host.builder.lowering.values import Node, UnknownFormError

DOMAIN = "com.microsoft"


def standard(node: Node) -> list[Node]:
    """What an operator of that domain stands for; raises `UnknownFormError`."""
    if node.kind not in _FORMS:
        raise UnknownFormError(f"{DOMAIN}.{node.kind}")
    return _FORMS[node.kind](node)


def _gelu(node: Node) -> list[Node]:
    return [replace(node, kind="Gelu", attributes={})]


def _fast_gelu(node: Node) -> list[Node]:
    return _with_bias(node, replace(node, kind="Gelu", attributes={"approximate": "tanh"}))


def _bias_gelu(node: Node) -> list[Node]:
    return _with_bias(node, replace(node, kind="Gelu", attributes={}))


def _with_bias(node: Node, after: Node) -> list[Node]:
    """What follows, of the first input and the second's sum where there is one."""
    if len(node.inputs) < 2 or not node.inputs[1]:
        return [replace(after, inputs=node.inputs[:1])]
    between = f"{node.outputs[0]}/biased"
    total = Node("Add", node.name, node.inputs[:2], (between,), {}, node.opset)
    return [total, replace(after, inputs=(between,))]


def _quick_gelu(node: Node) -> list[Node]:
    return [replace(node, kind="Swish", attributes={"alpha": node.get("alpha", 1.702)})]


def _fused(kind: str) -> Callable[[Node], list[Node]]:
    """An operator with an activation behind it."""

    def expand(node: Node) -> list[Node]:
        activation = node.text("activation")
        plain = replace(node, kind=kind)
        if not activation:
            return [plain]
        given = list(node.get("activation_params") or [])
        named = (node.get("activation_alpha"), node.get("activation_beta"))
        given = given or [value for value in named if value is not None]
        names = {"LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}.get(activation, ())
        if len(node.inputs) > 3:
            raise UnknownFormError(f"{DOMAIN}.{node.kind} with a sum")
        between = f"{node.outputs[0]}/inner"
        after = Node(activation, node.name, (between,), node.outputs, dict(zip(names, given, strict=False)), node.opset)
        return [replace(plain, outputs=(between,)), after]

    return expand


_FORMS: dict[str, Callable[[Node], list[Node]]] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused("Conv"),
    "FusedGemm": _fused("Gemm"),
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
}
KNOWN = frozenset(f"{DOMAIN}.{kind}" for kind in _FORMS)
"""Those that can be written otherwise."""
