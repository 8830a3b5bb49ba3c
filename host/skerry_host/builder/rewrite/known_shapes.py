"""Computes what a graph makes of the shapes of its own tensors: they are known before it runs, and so are constants.

SHAPE of a tensor of real values has no kernel for integers, so that it was left float with a border on either side.
"""

from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import DTYPES, add_buffer, constant
from skerry_host.builder.modelfile.links import drop_unread, kinds
from skerry_host.builder.rewrite.counting import evaluate
from skerry_host.builder.rewrite.first_axes import FirstAxes


def fold_shapes(model: Any) -> str | None:
    """Write SHAPE of tensors without an open axis but the batch, and what is counted from them alone, as constants."""
    main, names, axes = model.subgraphs[0], kinds(model), FirstAxes(model)
    wanted, folded, kept = {int(i) for i in main.outputs}, set[int](), []
    for op in main.operators or []:
        name, written = names[op.opcodeIndex], [int(i) for i in op.outputs]
        values = _shape(main, op, axes) if name == "SHAPE" else _counted(model, name, op, folded)
        if values is None or not values.size or len(written) != 1 or written[0] in wanted:
            kept.append(op)
            continue
        tensor = main.tensors[written[0]]
        tensor.shape, tensor.shapeSignature = list(values.shape), None
        tensor.buffer = add_buffer(model, values.astype(DTYPES[tensor.type]))
        folded.add(written[0])
    main.operators = kept
    if folded:
        drop_unread(model)
    return f"{len(folded)} operators that count shapes computed" if folded else None


def _shape(main: Any, op: Any, axes: FirstAxes) -> Array | None:
    read = int(op.inputs[0])
    dtype = DTYPES.get(main.tensors[int(op.outputs[0])].type)
    return np.array(main.tensors[read].shape, dtype) if dtype is not None and axes.known(read) else None


def _counted(model: Any, name: str, op: Any, folded: set[int]) -> Array | None:
    """What an operator makes of constants, if one of them was computed here."""
    reads = [int(i) for i in op.inputs]
    if not folded.intersection(reads) or any(model.subgraphs[0].tensors[int(i)].type not in DTYPES for i in op.outputs):
        return None
    known = [values for i in reads if (values := constant(model, i)) is not None]
    return evaluate(name, op, known) if len(known) == len(reads) else None
