"""What an ONNX graph has of other makers' operators, and outputs that are no numbers. Works on a loaded model in place.

Exporters of scikit-learn put the number of the class and a map of probabilities beside the scores: both are dropped,
because devices find the class of the scores themselves.
"""

import re
from collections.abc import Iterable
from typing import Any

STANDARD = frozenset({"", "ai.onnx"})
_FLOATS = {1, 10, 11, 16}
"""float, float16, double and bfloat16 in TensorProto.DataType (onnx.proto)."""
_WHY = {
    "com.microsoft": (
        "onnxruntime's own, made when it optimizes or quantizes a model for itself",
        "give the file that was exported, from before onnxruntime optimized it",
    ),
    "ai.onnx.ml": (
        "of classical machine learning, not of a neural network",
        "give a neural network: trees, support vectors and tables of words have no int8 form",
    ),
}


def foreign(graph: Any, known: frozenset[str] = frozenset()) -> tuple[str, str] | None:
    """What is wrong with operators that are not of the standard, and what to do; None if all are.

    `known`: those of other domains that can be used all the same, as `domain.name`.
    """
    found: dict[str, set[str]] = {}
    for node in nodes(graph):
        if node.domain not in STANDARD and f"{node.domain}.{node.op_type}" not in known:
            found.setdefault(node.domain, set()).add(node.op_type)
    for domain, names in sorted(found.items()):
        what, hint = _WHY.get(domain, ("of its maker's runtime only", "export it with standard operators"))
        listed = ", ".join(sorted(names)[:6]) + (", ..." if len(names) > 6 else "")
        return f"has operators of {domain} ({listed}), which are {what}", hint
    return None


def too_new(opset: int, newest: int) -> tuple[str, str] | None:
    """What is wrong with operators of a version that nobody here knows."""
    if opset <= newest:
        return None
    return f"has operators of version {opset}, the newest known here are {newest}", "export it with opset_version=18"


_PLACE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |(/\S+\.(h|cc|cpp):\d+ .*?\) (?=[A-Z]))")


def own_words(error: Exception, most: int = 300) -> str:
    """An error of onnxruntime without the place in its own sources, which hides what it says."""
    text = " ".join(str(error).split())
    return _PLACE.sub("", text)[:most].strip() or type(error).__name__


def nodes(graph: Any) -> Iterable[Any]:
    """Every node, those of subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def drop_labels(graph: Any) -> list[str]:
    """Drop outputs that are no real numbers, where others are; what only they needed goes, too. Says what was done."""
    _unzip(graph)
    real = [value for value in graph.output if value.type.tensor_type.elem_type in _FLOATS]
    gone = [value.name for value in graph.output if value.type.tensor_type.elem_type not in _FLOATS]
    if not real or not gone:
        return []
    del graph.output[:]
    graph.output.extend(real)
    prune(graph)
    kept = ", ".join(value.name for value in real)
    return [f"output {', '.join(gone)} dropped: no real numbers; {kept} stays"]


def _unzip(graph: Any) -> None:
    """Let an output that is a list of maps be the tensor of probabilities that it was made from (ZipMap)."""
    made = {name: node for node in graph.node for name in node.output}
    for value in graph.output:
        node = made.get(value.name)
        if node is not None and node.op_type == "ZipMap":
            value.name = node.input[0]
            value.type.Clear()
            value.type.tensor_type.elem_type = 1


def prune(graph: Any) -> None:
    """Drop nodes whose values nobody reads."""
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            needed |= {name for inner in nodes_of_attributes(node) for name in inner.input}
    del graph.node[:]
    graph.node.extend(reversed(kept))


def nodes_of_attributes(node: Any) -> Iterable[Any]:
    """The nodes of a node's subgraphs."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from nodes(attribute.g)
