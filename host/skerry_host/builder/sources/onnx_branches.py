"""Replaces branches (If) whose condition is known by the side that is taken. Knows no loops."""

from typing import Any

from onnx import helper, numpy_helper

from skerry_host.builder.sources.onnx_foreign import nodes


def take_branches(graph: Any) -> int:
    """Put the side that is taken in place of each If with a constant condition; how many that were."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    made, done = [], 0
    for node in graph.node:
        if node.op_type != "If" or node.input[0] not in known:
            made.append(node)
            continue
        done += 1
        side = "then_branch" if bool(numpy_helper.to_array(known[node.input[0]]).ravel()[0]) else "else_branch"
        branch = next(entry.g for entry in node.attribute if entry.name == side)
        made += _inlined(graph, node, branch, f"branch{done}_")
    del graph.node[:]
    graph.node.extend(made)
    return done


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
