"""Writes averages, variances and softmaxes that are spelt out, as JAX does it, so that integers lose little.

E[x^2] - E[x]^2 is a small difference of large numbers, each rounded to a step of its own size; the mean square of
x - E[x] is the same and has no such difference. A sum over n values spans n times their range, an average does not.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import constant
from skerry_host.builder.modelfile.links import Written, drop_unread
from skerry_host.builder.modelfile.parts import NONE, activation_of, copy_tensor, multiply, operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B, _FLOAT32 = schema.BuiltinOperator, schema.TensorType.FLOAT32


class _Reduced(Written):
    """What is written by reductions: along which axes, of what."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model, self.main = model, model.subgraphs[0]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        found = self.main.tensors[index].shape
        return () if found is None else tuple(int(n) for n in found)

    def axes(self, op: Any) -> tuple[int, ...] | None:
        """The axes that an operator reduces, from 0; None where the model computes them."""
        found = constant(self.model, int(op.inputs[1]))
        rank = len(self.shape(int(op.inputs[0])))
        return None if found is None else tuple(sorted(int(axis) % rank for axis in np.ravel(found)))

    def squared(self, index: int) -> int | None:
        """x, of a tensor that is x * x."""
        op = self.by(index, "MUL", "SQUARE")
        return None if op is None or len({int(i) for i in op.inputs}) != 1 else int(op.inputs[0])

    def unshaped(self, index: int) -> int:
        """What a tensor is made of by RESHAPE, or itself."""
        op = self.by(index, "RESHAPE")
        return index if op is None else int(op.inputs[0])


def average_sums(model: Any) -> str | None:
    """`SUM(x) / n` is MEAN(x)."""
    written = _Reduced(model)

    def mean(name: str, op: Any) -> list[Any] | None:
        if name not in {"MUL", "DIV"} or activation_of(op) != NONE:
            return None
        pairs = [(int(op.inputs[0]), int(op.inputs[1])), (int(op.inputs[1]), int(op.inputs[0]))]
        for summed, factor in pairs[: 1 if name == "DIV" else 2]:
            total = written.by(summed, "SUM")
            values = constant(model, factor)
            axes = written.axes(total) if total is not None else None
            if axes is None or values is None or values.size != 1 or values.dtype != np.float32:
                continue
            if written.shape(summed) != written.shape(int(op.outputs[0])):
                continue
            count = int(np.prod([written.shape(int(total.inputs[0]))[axis] for axis in axes]))
            if np.isclose(float(values.ravel()[0]), count if name == "DIV" else 1 / max(1, count), rtol=1e-5, atol=0):
                reads = (int(total.inputs[0]), int(total.inputs[1]))
                return [operator(model, _B.MEAN, reads, int(op.outputs[0]), total.builtinOptions)]
        return None

    return _told(model, replace_operators(model, mean), "sums over a count written as averages")


def centre_variances(model: Any) -> str | None:
    """`MEAN(x * x) - MEAN(x) * MEAN(x)` is the MEAN of the square of x - MEAN(x)."""
    written = _Reduced(model)

    def variance(name: str, op: Any) -> list[Any] | None:
        if name != "SUB" or activation_of(op) != NONE:
            return None
        of_squares, centre = written.by(int(op.inputs[0]), "MEAN"), written.squared(int(op.inputs[1]))
        average = None if centre is None else written.by(centre, "MEAN")
        if of_squares is None or average is None:
            return None
        x, axes = int(average.inputs[0]), written.axes(average)
        if written.squared(int(of_squares.inputs[0])) != x or axes is None or written.axes(of_squares) != axes:
            return None
        if bool(of_squares.builtinOptions.keepDims) != bool(average.builtinOptions.keepDims):
            return None
        return _centred(model, (x, int(average.inputs[1])), axes, of_squares, int(op.outputs[0]))

    return _told(model, replace_operators(model, variance), "variances written with the mean taken off first")


def _centred(model: Any, read: tuple[int, int], axes: tuple[int, ...], of_squares: Any, written: int) -> list[Any]:
    main, keeping = model.subgraphs[0], schema.ReducerOptionsT()
    keeping.keepDims = True
    x = read[0]
    mean, apart, squares = (copy_tensor(main, x, end) for end in (b"/mean", b"/apart", b"/squares"))
    for tensor in (mean, apart, squares):
        main.tensors[tensor].name = main.tensors[written].name + main.tensors[tensor].name[len(main.tensors[x].name) :]
    shape = [1 if axis in axes else int(n) for axis, n in enumerate(main.tensors[x].shape)]
    main.tensors[mean].shape, main.tensors[mean].shapeSignature = np.array(shape, np.int32), None
    return [
        operator(model, _B.MEAN, read, mean, keeping),
        operator(model, _B.SUB, (x, mean), apart, schema.SubOptionsT()),
        multiply(model, (apart, apart), squares),
        operator(model, _B.MEAN, (squares, read[1]), written, of_squares.builtinOptions),
    ]


def fuse_softmax(model: Any) -> str | None:
    """`e / SUM(e)` with `e = EXP(x)` or `EXP(x - REDUCE_MAX(x))`, along the last axis, is SOFTMAX(x)."""
    written = _Reduced(model)

    def softmax(name: str, op: Any) -> list[Any] | None:
        if name != "DIV" or activation_of(op) != NONE:
            return None
        power, total = written.by(int(op.inputs[0]), "EXP"), written.by(written.unshaped(int(op.inputs[1])), "SUM")
        if power is None or total is None or int(total.inputs[0]) != int(op.inputs[0]):
            return None
        if not _one_a_row(written, total, int(op.inputs[1])):
            return None
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        x = _without_largest(written, int(power.inputs[0]))
        return [operator(model, _B.SOFTMAX, (x,), int(op.outputs[0]), options)]

    return _told(model, replace_operators(model, softmax), "softmaxes that were spelt out written as one operator")


def _one_a_row(written: _Reduced, reduced: Any, beside: int) -> bool:
    """Whether an operator reduces the last axis alone, and tensor `beside` has that result for each row."""
    shape = written.shape(int(reduced.inputs[0]))
    return written.axes(reduced) == (len(shape) - 1,) and written.shape(beside) == (*shape[:-1], 1)


def _without_largest(written: _Reduced, index: int) -> int:
    """x, of a tensor that is x less the largest of its row; else the tensor itself."""
    less = written.by(index, "SUB")
    largest = None if less is None else written.by(written.unshaped(int(less.inputs[1])), "REDUCE_MAX")
    if largest is None or int(largest.inputs[0]) != int(less.inputs[0]):
        return index
    return int(less.inputs[0]) if _one_a_row(written, largest, int(less.inputs[1])) else index


def _told(model: Any, done: int, what: str) -> str | None:
    if not done:
        return None
    drop_unread(model)
    return f"{done} {what}"
