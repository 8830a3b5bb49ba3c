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
        whole = name != "SHAPE" or axes.known(int(op.inputs[0]))
        values = _values(model, name, op, folded) if whole else None
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


def _values(model: Any, name: str, op: Any, folded: set[int]) -> Array | None:
    main = model.subgraphs[0]
    if any(main.tensors[int(i)].type not in DTYPES for i in op.outputs):
        return None
    if name == "SHAPE":
        return _shape(main.tensors[int(op.inputs[0])], DTYPES[main.tensors[int(op.outputs[0])].type])
    if not folded.intersection(map(int, op.inputs)):
        return None
    got = [constant(model, int(i)) for i in op.inputs]
    known = [values for values in got if values is not None]
    return evaluate(name, op, known) if len(known) == len(got) else None


def _shape(tensor: Any, dtype: Any) -> Array:
    return np.array([int(n) for n in tensor.shape], dtype)
