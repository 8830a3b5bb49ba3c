"""Inputs of an ONNX graph that the recipe fixes become constants, a sampling rate for instance. Works in place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from skerry_host.builder.sources.onnx_shapes import sizes
from skerry_host.builder.sources.onnx_unfit import UnfitError


def fix_values(graph: Any, values: Mapping[str, float]) -> list[str]:
    """Make constants of the inputs that have a value; says which. Raises `UnfitError` for names that there are not."""
    there = {value.name: value for value in graph.input}
    unknown = [name for name in values if name not in there]
    if unknown:
        problem = f"has no input {', '.join(unknown)}, of which the recipe gives a value"
        raise UnfitError(problem, f"its inputs are {', '.join(there)}")
    for name, number in values.items():
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in sizes(there[name])]
        dtype = helper.tensor_dtype_to_np_dtype(there[name].type.tensor_type.elem_type)
        graph.initializer.append(numpy_helper.from_array(np.full(shape, number, dtype), name))
        graph.input.remove(there[name])
    return [f"input {name} is always {number:g}" for name, number in values.items()]
