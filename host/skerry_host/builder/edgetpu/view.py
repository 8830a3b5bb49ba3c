"""A model for the checks of the operator table: each operator with inputs by position, options and constants.

Checks nothing. Positions matter here (an absent optional input is `None`), weights are looked up only when asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.edgetpu.flatbuffer import DamagedError
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor, describe

Lookup = Callable[[int], Array | None]
"""From the index of a tensor to its constant value, in the tensor's dtype, flat."""

_DTYPES = {"int8": "i1", "uint8": "u1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "bool": "?"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `options` are the fields of its builtin options, by their names in the generated schema."""

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: dict[str, Any]
    lookup: Lookup

    def input(self, position: int) -> Tensor | None:
        """The input at a position, if it is there."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int) -> Array | None:
        """The flat value of a constant input; `None` if it is absent, computed at run time, or of no integer type."""
        tensor = self.input(position)
        return None if tensor is None else self.lookup(tensor.index)

    def present(self) -> tuple[Tensor, ...]:
        """The inputs that are there."""
        return tuple(tensor for tensor in self.inputs if tensor is not None)


@dataclass(frozen=True, slots=True)
class View:
    """A graph and its operators, in the order of execution."""

    graph: Graph
    nodes: tuple[Node, ...]

    def producers(self) -> dict[int, int]:
        """Which operator makes which tensor."""
        return {tensor.index: node.op.index for node in self.nodes for tensor in node.outputs}


def view(model: Any) -> View:
    """The view of a `schema.ModelT`; raises `DamagedError` when an operator names a tensor that is not there."""
    graph = describe(model)
    lookup = _lookup(model, graph)
    operators = model.subgraphs[0].operators or []
    return View(graph, tuple(_node(op, operators[op.index], graph, lookup) for op in graph.ops))


def _node(op: Op, operator: Any, graph: Graph, lookup: Lookup) -> Node:
    inputs = [] if operator.inputs is None else [int(i) for i in operator.inputs]
    for index in (*inputs, *op.outputs):
        if index >= len(graph.tensors):
            raise DamagedError(f"operator {op.index} uses tensor {index}, there are {len(graph.tensors)}")
    options = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
    tensors = tuple(graph.tensors[i] if i >= 0 else None for i in inputs)
    return Node(op, tensors, tuple(graph.tensors[i] for i in op.outputs), options, lookup)


def _lookup(model: Any, graph: Graph) -> Lookup:
    raw = model.subgraphs[0].tensors

    def value(index: int) -> Array | None:
        tensor = graph.tensors[index]
        dtype = _DTYPES.get(tensor.dtype)
        if dtype is None or not tensor.constant_bytes:
            return None
        data = np.asarray(model.buffers[raw[index].buffer].data, np.uint8).tobytes()
        if len(data) % np.dtype(dtype).itemsize:
            raise DamagedError(f"tensor {index} holds {len(data)} bytes of {tensor.dtype}")
        return np.frombuffer(data, dtype)

    return value
