"""Folds float16 weights of a `schema.ModelT` into float32 ones."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_buffer
from skerry_host.builder.modelfile.graph import op_name

_FLOAT16, _FLOAT32 = schema.TensorType.FLOAT16, schema.TensorType.FLOAT32


def fold_float16(model: Any) -> str | None:
    """Make float32 constants of float16 ones that a DEQUANTIZE widens: the quantizer knows no float16 weights."""
    main = model.subgraphs[0]
    kept, folded = [], 0
    for op in main.operators or []:
        values = _half_constant(model, main, op)
        if values is None:
            kept.append(op)
            continue
        out = main.tensors[op.outputs[0]]
        out.type, out.buffer = _FLOAT32, add_buffer(model, values.astype(np.float32))
        folded += 1
    main.operators = kept
    _drop_unread(model, main, _FLOAT16)
    return f"{folded} float16 weights widened" if folded else None


def _half_constant(model: Any, main: Any, op: Any) -> Any:
    """The float16 values that an operator widens, None if it does something else."""
    if op_name(model.operatorCodes[op.opcodeIndex]) != "DEQUANTIZE":
        return None
    tensor = main.tensors[op.inputs[0]]
    data = model.buffers[tensor.buffer].data
    if tensor.type != _FLOAT16 or data is None or not len(data):
        return None
    return np.asarray(data, np.uint8).view(np.float16)


def _drop_unread(model: Any, main: Any, dtype: int) -> None:
    """Empty the constants of a type that no operator reads any more."""
    read = {int(i) for op in main.operators for i in op.inputs} | set(map(int, main.outputs))
    kept = {t.buffer for at, t in enumerate(main.tensors) if at in read or t.type != dtype}
    for tensor in main.tensors:
        if tensor.type == dtype and tensor.buffer not in kept:
            model.buffers[tensor.buffer].data = None
