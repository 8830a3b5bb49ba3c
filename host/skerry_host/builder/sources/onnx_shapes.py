"""Fixes what an ONNX file leaves open: sizes of inputs, and values of inputs that are settings.

Runs in the child process that has parsed the file.
"""

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from skerry_host.builder.sources.onnx_foreign import nodes
from skerry_host.builder.sources.onnx_unfit import UnfitError


def sizes(value: Any) -> list[int | str]:
    """The sizes of a value; those that are not fixed by their name, or as `?`."""
    return [
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or "?"
        for d in value.type.tensor_type.shape.dim
    ]


def fix_shapes(model: Any, shapes: dict[str, list[int]]) -> list[str]:
    """Give open inputs the sizes asked for; a batch that is alone open becomes 1."""
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    unknown = [name for name in shapes if name not in {value.name for value in inputs}]
    if unknown:
        there = ", ".join(value.name for value in inputs)
        raise UnfitError(f"has no input {', '.join(unknown)} (it has {there})", "correct [source.shapes]")
    changes = []
    for value in inputs:
        found = sizes(value)
        fixed = _fixed(value.name, found, shapes.get(value.name))
        if fixed != found:
            _set_sizes(value, fixed)
            changes.append(f"input {value.name} fixed to {'x'.join(map(str, fixed))}")
    if changes:
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    return changes


def _fixed(name: str, found: list[int | str], asked: list[int] | None) -> list[int]:
    shown = "x".join(map(str, found))
    if asked is None:
        fixed = [1 if at == 0 and isinstance(n, str) else n for at, n in enumerate(found)]
        if any(isinstance(n, str) for n in fixed):
            hint = f'give its sizes in the recipe: [source.shapes] "{name}" = [1, ...]'
            raise UnfitError(f"input {name} has the open shape {shown}", hint)
        return [int(n) for n in fixed]
    clash = len(asked) != len(found) or any(isinstance(n, int) and n != m for n, m in zip(found, asked, strict=False))
    if clash or min(asked, default=1) < 1:
        wanted = "x".join(map(str, asked))
        raise UnfitError(f"input {name} is {shown}, [source.shapes] says {wanted}", "give sizes that fit")
    return asked


def _set_sizes(value: Any, fixed: list[int]) -> None:
    dims = value.type.tensor_type.shape.dim
    for dim, n in zip(dims, fixed, strict=True):
        dim.Clear()
        dim.dim_value = n


def fix_values(graph: Any, values: dict[str, float]) -> list[str]:
    """Make inputs constants; raises `UnfitError` for one that is not there, or has an open size."""
    there = {value.name: value for value in graph.input}
    changes = []
    for name, number in values.items():
        if name not in there:
            listed = ", ".join(there)
            raise UnfitError(f"has no input {name} (it has {listed})", "correct [source.constants]")
        value = there[name]
        shape = [n if isinstance(n, int) else 1 for n in sizes(value)]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        graph.initializer.append(numpy_helper.from_array(np.full(shape, number, dtype), name))
        graph.input.remove(value)
        changes.append(f"input {name} fixed to {number}")
    return changes


def without_unread(graph: Any) -> list[str]:
    """Take off inputs that nothing reads: exporters leave settings behind that have no effect."""
    read = {name for node in nodes(graph) for name in node.input} | {value.name for value in graph.output}
    unread = [value for value in graph.input if value.name not in read]
    if len(unread) == len(graph.input):
        return []
    for value in unread:
        graph.input.remove(value)
    return [f"input {value.name} left out: nothing reads it" for value in unread]
