"""Finds the parts of a float graph that compute a function of one number, element by element. Changes nothing.

softplus is EXP, ADD 1, LOG; mish and SELU have more. On integers each of their operators would round, to a range that
the next one hardly uses; all together they round once, in a table.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import op_name

_T = schema.TensorType
_DTYPES = {_T.FLOAT32: np.float32, _T.INT32: np.int32, _T.INT64: np.int64, _T.BOOL: np.bool_}

ALWAYS = frozenset(
    {"ATAN2", "CEIL", "COS", "DIV", "FLOOR", "FLOOR_DIV", "FLOOR_MOD"}
    | {"LOG", "NEG", "POW", "ROUND", "SIGN", "SIN", "SQRT", "SQUARE"}
)
"""They have no int8 kernel, or only new runtimes have it: looked up even if nothing else is."""
TOGETHER = ALWAYS | frozenset(
    {"CAST", "EQUAL", "EXP", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL", "SELECT", "SELECT_V2"}
)
"""Looked up where they are one of several."""
ELEMENTWISE = TOGETHER | frozenset(
    {"ABS", "ADD", "ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC"}
    | {"MAXIMUM", "MINIMUM", "MUL", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQUARED_DIFFERENCE"}
    | {"SUB", "TANH", "ZEROS_LIKE"}
)
"""Each value of their output depends on the values in the same place of their inputs."""


@dataclass(frozen=True, slots=True)
class Region:
    """Operators by their places in the graph, ascending; the tensor that they read, and the last one they write."""

    places: tuple[int, ...]
    read: int
    written: int


def regions(model: Any) -> list[Region]:
    """The parts that are better looked up than computed; none has an operator of another."""
    graph = _View(model)
    taken: set[int] = set()
    found = []
    for place in reversed(range(len(graph.ops))):
        if place in taken or graph.names[place] not in ELEMENTWISE:
            continue
        region = _grow(graph, place, taken)
        if region is not None and _better_looked_up(graph, region):
            found.append(region)
            taken |= set(region.places)
    return found


class _View:
    """What is asked of a graph again and again."""

    def __init__(self, model: Any) -> None:
        self.model, self.main = model, model.subgraphs[0]
        self.ops: list[Any] = list(self.main.operators or [])
        self.names = [op_name(model.operatorCodes[op.opcodeIndex]) for op in self.ops]
        self.writer = {int(i): place for place, op in enumerate(self.ops) for i in op.outputs}
        self.readers = Counter(int(i) for op in self.ops for i in set(map(int, op.inputs)))
        self.readers.update(int(i) for i in self.main.outputs)

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.main.tensors[index].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def is_float(self, index: int) -> bool:
        return bool(self.main.tensors[index].type == _T.FLOAT32)

    def values(self, index: int) -> Any:
        """A constant's values, flat, None if it is none."""
        tensor = self.main.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.type not in _DTYPES:
            return None
        return np.asarray(data, np.uint8).view(_DTYPES[tensor.type])

    def is_number(self, index: int) -> bool:
        """Whether a tensor is a constant of one value, once or many times."""
        values = self.values(index)
        return values is not None and bool(np.all(values == values[0]))


def _grow(graph: _View, last: int, taken: set[int]) -> Region | None:
    """The largest part that ends with an operator and reads one tensor; None where there is none.

    Operators before it join, the latest first, as long as nobody outside reads what they write. Wherever the whole then
    reads one tensor only, it is such a part.
    """
    written = int(graph.ops[last].outputs[0])
    shape = graph.shape(written)
    members: set[int] = set()
    best: Region | None = None
    waiting = {last}
    while waiting:
        members.add(max(waiting))
        reads = _reads(graph, members)
        if reads is None:
            break
        if len(reads) == 1:
            (read,) = reads
            if graph.is_float(read) and graph.is_float(written) and graph.shape(read) == shape:
                best = Region(tuple(sorted(members)), read, written)
        joining = (_joins(graph, i, members, taken) for i in reads if graph.shape(i) == shape)
        waiting = {at for at in joining if at is not None}
    return best


def _reads(graph: _View, members: Iterable[int]) -> set[int] | None:
    """The tensors that some operators read from outside, numbers apart; None where a constant is more than a number."""
    inside = {int(i) for place in members for i in graph.ops[place].outputs}
    reads = {int(i) for place in members for i in graph.ops[place].inputs if int(i) >= 0} - inside
    constants = {i for i in reads if graph.values(i) is not None}
    if not all(graph.is_number(i) for i in constants):
        return None
    return reads - constants


def _joins(graph: _View, index: int, members: set[int], taken: set[int]) -> int | None:
    """The operator that writes a tensor, if it can be part of the same function."""
    place = graph.writer.get(index)
    if place is None or place in taken or graph.names[place] not in ELEMENTWISE:
        return None
    inner = sum(index in {int(i) for i in graph.ops[member].inputs} for member in members)
    return place if graph.readers[index] == inner else None


def _better_looked_up(graph: _View, region: Region) -> bool:
    names = {graph.names[place] for place in region.places}
    return bool(names & (ALWAYS if len(region.places) == 1 else TOGETHER))
