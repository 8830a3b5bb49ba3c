"""Writes REVERSE_V2 as slices: it has no int8 form, and most are of sequences that a recurrent layer reads backwards.

A slice of one row of a reversed tensor is a row of the tensor itself; any other reader gets the rows put together.
"""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_tensor, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import drop_unread
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.rewrite.rows import one_row, read_row, row_of

MAX_ROWS = 512
"""A longer one is left as it is: each row is an operator."""


def write_reversals(model: Any) -> str | None:
    """Replace every REVERSE_V2 of float32 along one axis, in place."""
    main = model.subgraphs[0]
    found = [op for op in main.operators or [] if _axis(model, op) is not None]
    for op in found:
        _read_through(model, op, _axis(model, op))
    made: list[Any] = []
    read = {int(i) for op in main.operators or [] for i in op.inputs} | set(map(int, main.outputs))
    for op in main.operators or []:
        if not any(op is one for one in found):
            made.append(op)
        elif int(op.outputs[0]) in read:
            made += _rows(model, op, _axis(model, op))
    if found:
        main.operators = made
        drop_unread(model)
    if not found:
        return None
    return f"{len(found)} {'reversal' if len(found) == 1 else 'reversals'} written as slices"


def _axis(model: Any, op: Any) -> int | None:
    """The one axis that a REVERSE_V2 of float32 turns round; None for any other operator."""
    if op_name(model.operatorCodes[op.opcodeIndex]) != "REVERSE_V2":
        return None
    main = model.subgraphs[0]
    tensor, axes = main.tensors[int(op.inputs[0])], constant(model, int(op.inputs[1]))
    if tensor.type != schema.TensorType.FLOAT32 or axes is None or axes.size != 1:
        return None
    axis = int(axes.ravel()[0]) % len(tensor.shape)
    return axis if int(tensor.shape[axis]) <= MAX_ROWS else None


def _read_through(model: Any, op: Any, axis: int | None) -> None:
    """Let slices of one row read the tensor that is reversed."""
    assert axis is not None
    main = model.subgraphs[0]
    source, turned = int(op.inputs[0]), int(op.outputs[0])
    last = int(main.tensors[source].shape[axis]) - 1
    for at, reader in enumerate(main.operators):
        row = row_of(model, reader, turned, axis)
        if row is not None:
            main.operators[at] = read_row(model, source, one_row(axis, last - row), int(reader.outputs[0]))


def _rows(model: Any, op: Any, axis: int | None) -> list[Any]:
    assert axis is not None
    main = model.subgraphs[0]
    source, turned = int(op.inputs[0]), int(op.outputs[0])
    shape = [int(n) for n in main.tensors[source].shape]
    made, rows = [], []
    for row in reversed(range(shape[axis])):
        name = bytes(main.tensors[turned].name or b"reversed") + b"/row%d" % row
        size = [1 if at == axis else n for at, n in enumerate(shape)]
        rows.append(add_tensor(main, name, schema.TensorType.FLOAT32, size))
        made.append(read_row(model, source, one_row(axis, row, shrink=False), rows[-1]))
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    return [*made, operator(model, schema.BuiltinOperator.CONCATENATION, tuple(rows), turned, options)]
