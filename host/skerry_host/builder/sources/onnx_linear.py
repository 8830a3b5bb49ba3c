"""Writes the linear models of scikit-learn's converters (ai.onnx.ml) as plain products and sums."""

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

_ENDINGS = {b"NONE": None, b"SOFTMAX": "Softmax", b"LOGISTIC": "Sigmoid"}


def rewrite_linear(model: Any) -> list[str]:
    """Scaler, LinearRegressor, LinearClassifier and the normalisation of a softmax as operators of the standard."""
    graph = model.graph
    made, done = [], []
    for node in graph.node:
        parts = _REWRITES[node.op_type](graph, node) if node.op_type in _REWRITES else None
        made += [node] if parts is None else parts
        done += [] if parts is None else [node.op_type]
    del graph.node[:]
    graph.node.extend(made)
    return [f"{', '.join(sorted(set(done)))} written as plain operators"] if done else []


def _attributes(node: Any) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _constant(graph: Any, name: str, values: Any) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    return name


def _scaler(graph: Any, node: Any) -> list[Any]:
    """(x - offset) * scale."""
    given, name = _attributes(node), node.output[0]
    offset, scale = (_constant(graph, f"{name}_{key}", given[key]) for key in ("offset", "scale"))
    return [
        helper.make_node("Sub", [node.input[0], offset], [f"{name}_moved"]),
        helper.make_node("Mul", [f"{name}_moved", scale], [name]),
    ]


def _regressor(graph: Any, node: Any) -> list[Any] | None:
    given, name = _attributes(node), node.output[0]
    rows = given.get("targets", 1)
    if given.get("post_transform", b"NONE") != b"NONE":
        return None
    weights = np.asarray(given["coefficients"], np.float32).reshape(rows, -1)
    pair = _product(graph, name, weights, given.get("intercepts", np.zeros(rows)))
    return [helper.make_node("Gemm", [node.input[0], *pair], [name], transB=1)]


def _classifier(graph: Any, node: Any) -> list[Any] | None:
    """The scores, its second output; one row for two classes says that of the second, and minus that of the first."""
    given, name = _attributes(node), node.output[1]
    labels = given.get("classlabels_ints") or given.get("classlabels_strings") or []
    bias = np.asarray(given.get("intercepts", [0.0]), np.float32)
    ending = given.get("post_transform", b"NONE")
    weights = np.asarray(given["coefficients"], np.float32).reshape(len(bias), -1)
    if len(bias) != len(labels) or ending not in _ENDINGS:
        return None
    kind = _ENDINGS[ending]
    scores = f"{name}_scores" if kind else name
    made = [helper.make_node("Gemm", [node.input[0], *_product(graph, name, weights, bias)], [scores], transB=1)]
    return made + ([helper.make_node(kind, [scores], [name])] if kind else [])


def _product(graph: Any, name: str, weights: Any, bias: Any) -> list[str]:
    return [_constant(graph, f"{name}_weights", weights), _constant(graph, f"{name}_bias", bias)]


def _normalizer(graph: Any, node: Any) -> list[Any] | None:
    """By the sum of magnitudes, or of squares; shares of a softmax add up to 1 already."""
    norm = _attributes(node).get("norm", b"MAX")
    writer = next((each for each in graph.node if node.input[0] in each.output), None)
    soft = writer is not None and (
        writer.op_type == "Softmax" or _attributes(writer).get("post_transform") == b"SOFTMAX"
    )
    if soft and norm == b"L1":
        return [helper.make_node("Identity", [node.input[0]], [node.output[0]])]
    powers = {b"L1": 1, b"L2": 2}
    if norm not in powers:
        return None
    return [helper.make_node("LpNormalization", [node.input[0]], [node.output[0]], p=powers[norm], axis=-1)]


_REWRITES = {
    "LinearClassifier": _classifier,
    "LinearRegressor": _regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
