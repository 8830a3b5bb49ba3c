"""Looks at which operators an ONNX file has, and takes off what no device computes: labels, lists of maps, NMS.

Names what cannot be used. Runs in the child process that has parsed the file.
"""

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper

from skerry_host.builder.sources.onnx_unfit import UnfitError

_STANDARD = {"", "ai.onnx"}
_ML = "ai.onnx.ml"
_RUNTIME = {"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of onnxruntime, which loads them."""
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node, those of subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def require_known_domains(model: Any) -> None:
    """Raise `UnfitError` for operators of domains that neither the standard nor onnxruntime knows."""
    own = {function.domain for function in model.functions}
    known = _STANDARD | _RUNTIME | {_ML} | own
    other = sorted({f"{node.domain}.{node.op_type}" for node in nodes_of(model.graph) if node.domain not in known})
    if other:
        problem = f"has operators that are defined elsewhere: {', '.join(other[:3])}"
        raise UnfitError(problem, "export it with operators of the ONNX standard only")


def without_labels(model: Any) -> list[str]:
    """Take off what converters of scikit-learn add: class labels as an output, and probabilities as a list of maps."""
    graph = model.graph
    if not any(node.domain == _ML for node in graph.node) and not any(e.domain == _ML for e in model.opset_import):
        return []
    changes = []
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        changes.append(f"output {node.output[0]} is the probabilities themselves, not a list of maps")
        _rename_output(graph, node.output[0], node.input[0])
        graph.node.remove(node)
    real = [value for value in graph.output if _is_float(graph, value)]
    labels = [value for value in graph.output if not _is_float(graph, value)]
    if real and labels:
        for value in labels:
            changes.append(f"output {value.name} (the label) left out: the recipe names the classes")
            graph.output.remove(value)
        _drop_unread(graph)
    return changes


def _rename_output(graph: Any, old: str, new: str) -> None:
    """Let an output be another value, under its own name: whoever writes that value writes the output."""
    for value in graph.output:
        if value.name == old:
            value.CopyFrom(helper.make_tensor_value_info(old, onnx.TensorProto.FLOAT, None))
    for node in graph.node:
        node.input[:] = [old if name == new else name for name in node.input]
        node.output[:] = [old if name == new else name for name in node.output]


def _is_float(graph: Any, value: Any) -> bool:
    """Whether an output holds reals; the type that a converter states is not always there."""
    if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type:
        return value.type.tensor_type.elem_type in _FLOATS
    writer = next((node for node in graph.node if value.name in node.output), None)
    return writer is not None and writer.op_type not in {"ArrayFeatureExtractor", "ArgMax", "LabelEncoder"}


def _drop_unread(graph: Any) -> None:
    """Remove the nodes that no output needs any more."""
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(list(graph.node)):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= {name for inner in _with_inner(node) for name in inner.input}
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _with_inner(node: Any) -> Iterator[Any]:
    yield node
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from nodes_of(attribute.g)


def without_nms(model: Any) -> list[str]:
    """End a detector where its own non-maximum suppression begins: its boxes and scores are the outputs then.

    How many boxes that leaves depends on the picture, and devices do it after the model (`[postprocess]`).
    """
    graph = model.graph
    found = [node for node in nodes_of(graph) if node.op_type == "NonMaxSuppression"]
    if not found:
        return []
    if len(found) > 1 or found[0] not in list(graph.node):
        raise UnfitError(
            f"does non-maximum suppression itself, {len(found)} times", "export it without (boxes and scores as outputs)"
        )
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
    _drop_unread(graph)
    form = "centre x, centre y, width, height" if centre else "top, left, bottom, right"
    return [f"ends before its non-maximum suppression: outputs {boxes} ({form}) and {scores} (one a class)"]


def require_network(model: Any) -> None:
    """Raise `UnfitError` for what is of machine learning, but no network: trees, support vectors."""
    left = sorted({node.op_type for node in model.graph.node if node.domain == _ML})
    trees = [name for name in left if name.startswith("TreeEnsemble")]
    if trees:
        raise UnfitError(
            f"is a tree ensemble ({', '.join(trees)}): no neural network, and nothing of it becomes int8",
            "run it on the device by other means, or train a network",
        )
    if left:
        raise UnfitError(
            f"has operators of ai.onnx.ml that are no network's: {', '.join(left)}",
            "convert the classifier as a network of plain operators",
        )
