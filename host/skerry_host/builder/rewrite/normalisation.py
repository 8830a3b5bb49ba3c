"""Writes normalisation (LayerNorm, GroupNorm) so that integers lose little: the mean is taken off before anything else.

Keras computes x * s + (b - mean * s). Both terms may be large and nearly cancel, and each is rounded to a step of its
own size. (x - mean) / deviation is of the size of 1 everywhere: the same is written as that, times weight, plus bias.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_tensor, constant
from skerry_host.builder.modelfile.links import Written, drop_unread, kinds
from skerry_host.builder.modelfile.parts import activation_of, copy_tensor, multiply, operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B, _FLOAT32 = schema.BuiltinOperator, schema.TensorType.FLOAT32


class _Writers(Written):
    """Which operator writes a tensor, and what that reads."""

    def reads(self, index: int, name: str) -> tuple[int, ...] | None:
        """What the operator reads that writes a tensor, if it is of a kind and does nothing more."""
        op = self.by(index, name)
        return None if op is None else tuple(int(i) for i in op.inputs)


def centre_first(model: Any) -> str | None:
    """Write `x * s + (b - mean * s)` as `(x - mean) * s + b`; s in its two factors where one is a constant weight."""
    if "MEAN" not in kinds(model):
        return None
    writers = _Writers(model)

    def centred(name: str, op: Any) -> list[Any] | None:
        if name != "ADD" or model.subgraphs[0].tensors[op.outputs[0]].type != _FLOAT32:
            return None
        left, right = (int(i) for i in op.inputs)
        for product, rest in ((left, right), (right, left)):
            found = _parts(writers, product, rest)
            if found is not None:
                return _written(model, writers, op, found)
        return None

    done = replace_operators(model, centred)
    if done:
        drop_unread(model)
    return f"{done} normalisations written with the mean taken off first" if done else None


def _parts(writers: _Writers, product: int, rest: int) -> tuple[int, int, int, int | None] | None:
    """x, the mean, s, and b if there is one, of `x * s` and the rest; None where that is something else."""
    factors = writers.reads(product, "MUL")
    if factors is None:
        return None
    for mean, scale, bias in _shifts(writers, rest):
        if scale in factors and writers.reads(mean, "MEAN") is not None:
            x = factors[1] if factors[0] == scale else factors[0]
            return x, mean, scale, bias
    return None


def _shifts(writers: _Writers, rest: int) -> list[tuple[int, int, int | None]]:
    """Every way to read a tensor as `b - mean * s` or `-mean * s`: (mean, s, b)."""
    found: list[tuple[int, int, int | None]] = [(mean, scale, None) for mean, scale in _negative(writers, rest)]
    for one, other in _both(writers.reads(rest, "ADD")):
        found += [(mean, scale, other) for mean, scale in _negative(writers, one)]
    difference = writers.reads(rest, "SUB")
    if difference is not None:
        found += [(mean, scale, difference[0]) for mean, scale in _both(writers.reads(difference[1], "MUL"))]
    return found


def _negative(writers: _Writers, index: int) -> list[tuple[int, int]]:
    """A tensor as NEG(mean) * s."""
    found = []
    for one, scale in _both(writers.reads(index, "MUL")):
        negated = writers.reads(one, "NEG")
        if negated is not None:
            found.append((negated[0], scale))
    return found


def _both(pair: tuple[int, ...] | None) -> list[tuple[int, int]]:
    return [] if pair is None or len(pair) != 2 else [(pair[0], pair[1]), (pair[1], pair[0])]


def _written(model: Any, writers: _Writers, op: Any, found: tuple[int, int, int, int | None]) -> list[Any]:
    x, mean, scale, bias = found
    main, written = model.subgraphs[0], int(op.outputs[0])
    activation = activation_of(op)
    centred = _like(main, written, x, b"/centred")
    made = [operator(model, _B.SUB, (x, mean), centred, schema.SubOptionsT())]
    last = centred
    factors = _deviation_and_weight(model, writers, scale)
    for at, factor in enumerate(factors):
        target = copy_tensor(main, written, b"/scaled%d" % at)
        made.append(multiply(model, (last, factor), target))
        last = target
    if bias is None:
        made[-1].outputs = np.array([written], np.int32)
        made[-1].builtinOptions.fusedActivationFunction = activation
        return made
    options = schema.AddOptionsT()
    options.fusedActivationFunction = activation
    return [*made, operator(model, _B.ADD, (last, bias), written, options)]


def _deviation_and_weight(model: Any, writers: _Writers, scale: int) -> tuple[int, ...]:
    """One over the deviation, then the constant weight, if s is the product of the two."""
    for one, other in _both(writers.reads(scale, "MUL")):
        if constant(model, other) is not None and constant(model, one) is None:
            return one, other
    return (scale,)


def _like(main: Any, written: int, x: int, end: bytes) -> int:
    return add_tensor(main, main.tensors[written].name + end, _FLOAT32, main.tensors[x].shape)


def multiply_by_inverse_root(model: Any) -> str | None:
    """`x / SQRT(y)` is x * RSQRT(y), which is one operator less, and has an int8 kernel everywhere."""
    writers = _Writers(model)

    def product(name: str, op: Any) -> list[Any] | None:
        root = writers.reads(int(op.inputs[1]), "SQRT") if name == "DIV" else None
        if root is None:
            return None
        main, written = model.subgraphs[0], int(op.outputs[0])
        inverse = _like(main, written, int(op.inputs[1]), b"/inverse")
        activation = activation_of(op)
        return [
            operator(model, _B.RSQRT, root, inverse, None),
            multiply(model, (int(op.inputs[0]), inverse), written, activation),
        ]

    done = replace_operators(model, product)
    if done:
        drop_unread(model)
    return f"{done} divisions by a root written as products" if done else None
