"""Writes CUMSUM, which no runtime has on integers, as a dense layer whose weights are ones beside a diagonal."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, add_tensor, constant
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B = schema.BuiltinOperator
MOST = 4096
"""Of a longer axis the weights would be more than 16 MB."""


def cumsum_as_dense(model: Any) -> str | None:
    """Write each CUMSUM of real values along a known axis as FULLY_CONNECTED, between two TRANSPOSE if need be."""
    main = model.subgraphs[0]

    def dense(name: str, op: Any) -> list[Any] | None:
        axis = constant(model, int(op.inputs[1])) if name == "CUMSUM" else None
        tensor = main.tensors[op.outputs[0]]
        if axis is None or axis.size != 1 or tensor.type != schema.TensorType.FLOAT32 or len(tensor.shape) < 2:
            return None
        along = int(axis.ravel()[0]) % len(tensor.shape)
        return _dense(model, op, along) if int(tensor.shape[along]) <= MOST else None

    done = replace_operators(model, dense)
    return f"{done} cumulated sums written as dense layers" if done else None


def _dense(model: Any, op: Any, along: int) -> list[Any]:
    main = model.subgraphs[0]
    read, written = int(op.inputs[0]), int(op.outputs[0])
    name, shape = main.tensors[written].name, [int(n) for n in main.tensors[written].shape]
    weights = add_constant_tensor(model, name + b"/ones", _ones(shape[along], op.builtinOptions))
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    last = len(shape) - 1
    if along == last:
        return [operator(model, _B.FULLY_CONNECTED, (read, weights), written, options)]
    order = list(range(len(shape)))
    order[along], order[last] = last, along
    turn = add_constant_tensor(model, name + b"/order", np.array(order, np.int32))
    turned = [shape[axis] for axis in order]
    before, after = (
        add_tensor(main, name + end, schema.TensorType.FLOAT32, turned) for end in (b"/turned", b"/summed")
    )
    return [
        operator(model, _B.TRANSPOSE, (read, turn), before, schema.TransposeOptionsT()),
        operator(model, _B.FULLY_CONNECTED, (before, weights), after, options),
        operator(model, _B.TRANSPOSE, (after, turn), written, schema.TransposeOptionsT()),
    ]


def _ones(size: int, options: Any) -> Any:
    """Weights (out, in): output i sums the inputs up to i, without it if exclusive, from the other end if reversed."""
    exclusive, reverse = bool(options and options.exclusive), bool(options and options.reverse)
    ones = np.tril(np.ones((size, size), np.float32), -1 if exclusive else 0)
    return np.ascontiguousarray(ones.T) if reverse else ones
