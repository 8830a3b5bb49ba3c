"""Raises an ONNX model to a newer version of the operators, without changing what it computes; checks that it loads."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

_ATTRIBUTE_TO_INPUT = {"Squeeze": "axes", "Unsqueeze": "axes", "ReduceSum": "axes", "Split": "split"}
"""What became an input with version 13."""
_OLDEST = 11
"""From here to 13 and on to 17 nothing else changes for a model in use, but for what `_raised` looks at."""
_FLATTENING = {"Softmax", "LogSoftmax", "Hardmax"}
"""Before version 13 they are over an axis and all that follow."""


def at_opset(data: bytes, opset: int) -> bytes:
    """The model with operators of at least this version of the standard.

    By the standard's own converter; where what that makes does not load, by hand.
    """
    model = onnx.load_from_string(data)
    version = min((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=opset)
    if version >= opset:
        return data
    made: bytes = b""
    try:
        made = version_converter.convert_version(model, opset).SerializeToString()
    except Exception:  # noqa: BLE001  (its errors share no base)
        made = b""
    if made and _loads(made):
        return made
    return _raised(onnx.load_from_string(data), opset) if version >= _OLDEST else made or data


def _loads(data: bytes) -> bool:
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001  (onnxruntime's errors share no base)
        return False
    return True


def _raised(model: Any, opset: int) -> bytes:
    graph = model.graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in _values(model)}
    for at, node in enumerate(graph.node):
        name = _ATTRIBUTE_TO_INPUT.get(node.op_type)
        given = next((entry for entry in node.attribute if entry.name == name), None)
        if given is not None:
            added = f"raised_{at}_{name}"
            graph.initializer.append(numpy_helper.from_array(np.array(list(given.ints), np.int64), added))
            node.attribute.remove(given)
            node.input.append(added)
        if node.op_type in _FLATTENING:
            _require_last(node, ranks)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    made: bytes = model.SerializeToString()
    return made


def _values(model: Any) -> list[Any]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return [*inferred.input, *inferred.value_info, *inferred.output]


def _require_last(node: Any, ranks: dict[str, int]) -> None:
    """Say the axis of a softmax; one that was over several axes has no newer form."""
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
    rank = ranks.get(node.input[0], 0)
    if not rank or axis % rank != rank - 1:
        raise ValueError(f"{node.op_type} {node.name} is over several axes: export the model with opset_version=18")
    for entry in [entry for entry in node.attribute if entry.name == "axis"]:
        node.attribute.remove(entry)
    node.attribute.append(helper.make_attribute("axis", -1))
