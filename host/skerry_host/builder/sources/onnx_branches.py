"""Replaces branches (If) whose condition is known by the side that is taken. Knows no loops."""

from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from skerry_host.builder.sources.onnx_foreign import nodes, nodes_of_attributes

_MOST = 100
"""Operators that a condition may be computed by."""


def take_branches(model: Any) -> int:
    """Put the side that is taken in place of each If with a known condition; how many that were."""
    graph = model.graph
    made, done = [], 0
    for node in list(graph.node):
        taken = _condition(model, node.input[0]) if node.op_type == "If" else None
        if taken is None:
            made.append(node)
            continue
        done += 1
        side = "then_branch" if taken else "else_branch"
        branch = next(entry.g for entry in node.attribute if entry.name == side)
        made += _inlined(graph, node, branch, f"branch{len(graph.initializer)}_{done}_")
    del graph.node[:]
    graph.node.extend(made)
    return done


def _condition(model: Any, name: str) -> bool | None:
    """What a condition is, None if it depends on an input; computed by the standard's own evaluator."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    wanted, kept = {name}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    made = {out for node in kept for out in node.output} | set(constants) | {""}
    inner = {each.op_type for node in kept for each in nodes_within(node)}
    if not wanted <= made or inner & {"If", "Loop", "Scan"} or len(kept) > _MOST:
        return None
    out = [helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, None)]
    tensors = [tensor for key, tensor in constants.items() if key in wanted]
    alone = helper.make_graph(kept[::-1], "condition", [], out, tensors)
    try:
        made_model = helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
        (value,) = ReferenceEvaluator(made_model).run(None, {})
    except Exception:  # noqa: BLE001  (its errors share no base; the branch stays, and is named later)
        return None
    return bool(np.ravel(value)[0])


def nodes_within(node: Any) -> list[Any]:
    """A node and those of its subgraphs."""
    return [node, *nodes_of_attributes(node)]


def _inlined(graph: Any, node: Any, branch: Any, prefix: str) -> list[Any]:
    """The nodes of a branch with names of their own, its outputs under those of the If."""
    own = {name for inner in branch.node for name in inner.output} | {tensor.name for tensor in branch.initializer}
    names = {name: f"{prefix}{name}" for name in own if name}
    names |= {value.name: out for value, out in zip(branch.output, node.output, strict=True) if value.name in own}
    for inner in nodes(branch):
        inner.input[:] = [names.get(name, name) for name in inner.input]
        inner.output[:] = [names.get(name, name) for name in inner.output]
    for tensor in branch.initializer:
        tensor.name = names[tensor.name]
    graph.initializer.extend(branch.initializer)
    passed = [(value.name, out) for value, out in zip(branch.output, node.output, strict=True) if value.name not in own]
    return [*branch.node, *(_identity(name, out) for name, out in passed)]


def _identity(name: str, out: str) -> Any:
    return helper.make_node("Identity", [name], [out])
