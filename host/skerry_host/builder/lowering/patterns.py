"""Finds activation functions that exporters write out as several operators, and puts one in their place.

A pattern is recognised by what it computes, not by how it is written: all operators between one value and one result
are run on numbers, and compared with the function.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import erf, prod

import numpy as np

from skerry_host.builder.lowering.values import Array, Node

_PROBE = np.linspace(-6, 6, 97)
_erf = np.vectorize(erf)
_COMPUTE: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
}
_CURVED = {"Erf", "Tanh", "Sigmoid"}
_FUNCTIONS: tuple[tuple[str, Mapping[str, str], Callable[[Array], Array]], ...] = (
    ("Gelu", {"approximate": "none"}, lambda x: x * (1 + _erf(x / np.sqrt(2))) / 2),
    ("Gelu", {"approximate": "tanh"}, lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2),
)
_TOLERANCE = 1e-5
_LONGEST = 12
"""How many operators a function may be written as."""


def with_activations(nodes: Sequence[Node], constants: Mapping[str, Array]) -> list[Node]:
    """The graph with one operator for each function found; those that nobody reads any more are dropped later."""
    writers = {name: node for node in nodes for name in node.outputs}
    return [_replaced(node, writers, constants) if node.kind == "Mul" else node for node in nodes]


def with_roots(nodes: Sequence[Node]) -> list[Node]:
    """The graph with divisions by a square root as products: a product has an int8 form, a division has none."""
    writers = {name: node for node in nodes for name in node.outputs}
    made: list[Node] = []
    for node in nodes:
        root = writers.get(node.inputs[-1]) if node.kind in {"Div", "Reciprocal"} else None
        if root is None or root.kind != "Sqrt":
            made.append(node)
            continue
        inverse = node.outputs[0] if node.kind == "Reciprocal" else f"{node.outputs[0]}/inverse"
        made.append(Node("Rsqrt", root.name, root.inputs, (inverse,), {}, node.opset))
        if node.kind == "Div":
            made.append(Node("Mul", node.name, (node.inputs[0], inverse), node.outputs, {}, node.opset))
    return made


def with_biases(nodes: Sequence[Node], constants: Mapping[str, Array], outputs: Sequence[str]) -> list[Node]:
    """The graph with what is added to a product by constants as its third input."""
    readers = Counter(name for node in nodes for name in node.inputs) + Counter(outputs)
    writers = {name: node for node in nodes for name in node.outputs}
    return [_biased(node, writers, constants, readers) if node.kind == "Add" else node for node in nodes]


def _biased(add: Node, writers: Mapping[str, Node], constants: Mapping[str, Array], readers: "Counter[str]") -> Node:
    for one, other in (add.inputs, add.inputs[::-1]):
        product, bias = writers.get(one), constants.get(other)
        if product is None or bias is None or product.kind != "MatMul" or len(product.inputs) != 2:
            continue
        weights = constants.get(product.inputs[1])
        if weights is not None and _along(bias.shape, weights.shape) and readers[one] == 1:
            inputs = (*product.inputs, other)
            return Node("MatMul", product.name, inputs, add.outputs, product.attributes, product.opset)
    return add


def _along(bias: tuple[int, ...], weights: tuple[int, ...]) -> bool:
    """Whether there is one number for each column."""
    return len(weights) == 2 and bias[-1:] == weights[-1:] and prod(bias) == weights[-1] and len(bias) <= 2


def _replaced(last: Node, writers: Mapping[str, Node], constants: Mapping[str, Array]) -> Node:
    """The function that ends with a node, else the node."""
    inside: list[Node] = [last]
    while len(inside) <= _LONGEST:
        made = {name for node in inside for name in node.outputs}
        open_ones = {n for node in inside for n in node.inputs if n and n not in made and not _scalar(n, constants)}
        if len(open_ones) == 1 and any(node.kind in _CURVED for node in inside):
            (source,) = open_ones
            found = _function(inside, source, constants)
            if found is not None:
                return Node(found[0], last.name, (source,), last.outputs, found[1], last.opset)
        more = [writers[n] for n in open_ones if n in writers and writers[n].kind in _COMPUTE]
        if not more:
            return last
        inside.append(_latest(more, writers))
    return last


def _latest(found: Sequence[Node], writers: Mapping[str, Node]) -> Node:
    """Of several the one that none of the others comes from: it is nearest to the end."""
    for node in found:
        others = [other for other in found if other is not node]
        if not any(_reaches(other, node, writers) for other in others):
            return node
    return found[0]


def _reaches(start: Node, goal: Node, writers: Mapping[str, Node], deep: int = _LONGEST) -> bool:
    """Whether a node's inputs are computed from another's output."""
    before = [writers[name] for name in start.inputs if name in writers and writers[name].kind in _COMPUTE]
    return deep > 0 and any(node is goal or _reaches(node, goal, writers, deep - 1) for node in before)


def _scalar(name: str, constants: Mapping[str, Array]) -> bool:
    return name in constants and constants[name].size == 1


def _function(
    inside: Sequence[Node], source: str, constants: Mapping[str, Array]
) -> tuple[str, Mapping[str, str]] | None:
    """The function that nodes compute of one value."""
    known = {source: _PROBE}
    for node in reversed(inside):
        given = [known[n] if n in known else constants[n].ravel().astype(np.float64) for n in node.inputs if n]
        with np.errstate(all="ignore"):
            known[node.outputs[0]] = _COMPUTE[node.kind](*given)
    got = known[inside[0].outputs[0]]
    for kind, attributes, function in _FUNCTIONS:
        if got.shape == _PROBE.shape and np.allclose(got, function(_PROBE), atol=_TOLERANCE):
            return kind, attributes
    return None
