"""Reads one row of a tensor: STRIDED_SLICE operators on a `schema.ModelT`, made and recognised. Rewrites nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_constant_tensor, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.parts import operator


@dataclass(frozen=True, slots=True)
class Row:
    """One row along an axis; with `shrink` the axis goes away."""

    axis: int
    index: int
    shrink: bool


def one_row(axis: int, index: int, *, shrink: bool = True) -> Row:
    """The row at an index along an axis."""
    return Row(axis, index, shrink)


def read_row(model: Any, source: int, row: Row, out: int) -> Any:
    """The operator that writes a row of `source` to `out`: the Edge TPU knows it, and no GATHER."""
    last = np.asarray(model.subgraphs[0].tensors[source].shape).astype(np.int32)
    first, steps = np.zeros_like(last), np.ones_like(last)
    first[row.axis], last[row.axis] = row.index, row.index + 1
    options = schema.StridedSliceOptionsT()
    options.shrinkAxisMask = 1 << row.axis if row.shrink else 0
    ends = [unnamed(model, value) for value in (first, last, steps)]
    return operator(model, schema.BuiltinOperator.STRIDED_SLICE, (source, *ends), out, options)


def row_of(model: Any, op: Any, source: int, axis: int) -> int | None:
    """Which row of `source` an operator reads, with all else whole and the axis gone; None where it does not."""
    if op_name(model.operatorCodes[op.opcodeIndex]) != "STRIDED_SLICE" or int(op.inputs[0]) != source:
        return None
    main, options = model.subgraphs[0], op.builtinOptions
    shape = [int(n) for n in main.tensors[source].shape]
    first, last, steps = (constant(model, int(i)) for i in op.inputs[1:4])
    if first is None or last is None or steps is None or (steps != 1).any():
        return None
    if options.shrinkAxisMask != 1 << axis or options.ellipsisMask or options.newAxisMask:
        return None
    for at, size in enumerate(shape):
        begins = int(first[at]) == 0 or bool(options.beginMask & 1 << at)
        ends = int(last[at]) >= size or bool(options.endMask & 1 << at)
        if at != axis and not (begins and ends):
            return None
    return int(first[axis]) % shape[axis]


def unnamed(model: Any, value: Array) -> int:
    """A new constant under a name that nothing else has; its index."""
    return add_constant_tensor(model, b"constant%d" % len(model.subgraphs[0].tensors), value)
