"""Ends a detector before its own non-maximum suppression. Runs in the child process that has parsed the file."""

from typing import Any

import onnx
from onnx import helper

from skerry_host.builder.sources.onnx_foreign import nodes, prune
from skerry_host.builder.sources.onnx_unfit import UnfitError


def without_nms(model: Any) -> list[str]:
    """End a detector where its own non-maximum suppression begins: its boxes and scores are the outputs then.

    How many boxes that leaves depends on the picture, and devices do it after the model (`[postprocess]`).
    """
    graph = model.graph
    found = [node for node in nodes(graph) if node.op_type == "NonMaxSuppression"]
    if not found:
        return []
    if len(found) > 1 or found[0] not in list(graph.node):
        problem = f"does non-maximum suppression itself, {len(found)} times"
        raise UnfitError(problem, "export it without (boxes and scores as outputs)")
    (node,) = found
    centre = any(entry.name == "center_point_box" and entry.i for entry in node.attribute)
    taken = {name for each in graph.node for name in each.output} | {value.name for value in graph.input}
    boxes, scores = (name if name not in taken else f"{name}_before_nms" for name in ("boxes", "scores"))
    graph.node.extend(
        [
            helper.make_node("Identity", [node.input[0]], [boxes]),
            helper.make_node("Transpose", [node.input[1]], [scores], perm=[0, 2, 1]),
        ]
    )
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in (boxes, scores))
    prune(graph)
    form = "centre x, centre y, width, height" if centre else "top, left, bottom, right"
    return [f"ends before its non-maximum suppression: outputs {boxes} ({form}) and {scores} (one a class)"]
