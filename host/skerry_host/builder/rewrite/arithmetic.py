"""Writes arithmetic that has no integer kernel by operators that have one: NEG, SQUARE, POW, DIV, FLOOR_DIV, ADD_N.

Only where the numbers stay the same, but for the last bit of a float.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import readers
from skerry_host.builder.modelfile.parts import NONE, activation_of, copy_tensor, multiply, multiply_constant, operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B = schema.BuiltinOperator
_FLOAT32 = schema.TensorType.FLOAT32


def subtract_negated(model: Any) -> str | None:
    """`x + NEG(y)` is x - y, and `x - NEG(y)` is x + y; any other NEG is a MUL by -1. NEG has no int8 kernel of old."""
    main = model.subgraphs[0]
    negated = {int(op.outputs[0]): int(op.inputs[0]) for op in main.operators or [] if _is(model, main, op, "NEG")}
    if not negated:
        return None
    replace_operators(model, lambda name, op: _without_negation(model, name, op, negated))
    read = readers(main)
    main.operators = [op for op in main.operators if not _is(model, main, op, "NEG") or read[int(op.outputs[0])]]

    def product(_name: str, op: Any) -> list[Any] | None:
        if not _is(model, main, op, "NEG"):
            return None
        return [multiply_constant(model, (int(op.inputs[0]), int(op.outputs[0])), -1.0)]

    replace_operators(model, product)
    return f"{len(negated)} negations written as differences or products"


def _without_negation(model: Any, name: str, op: Any, negated: dict[int, int]) -> list[Any] | None:
    if name not in {"ADD", "SUB"}:
        return None
    left, right, written = int(op.inputs[0]), int(op.inputs[1]), int(op.outputs[0])
    activation = activation_of(op)
    if right in negated:
        return [_sum(model, (left, negated[right]), written, activation, subtract=name == "ADD")]
    if left in negated and name == "ADD":
        return [_sum(model, (right, negated[left]), written, activation, subtract=True)]
    return None


def _sum(model: Any, reads: tuple[int, int], written: int, activation: int, *, subtract: bool = False) -> Any:
    options = schema.SubOptionsT() if subtract else schema.AddOptionsT()
    options.fusedActivationFunction = activation
    return operator(model, _B.SUB if subtract else _B.ADD, reads, written, options)


def add_pairs(model: Any) -> str | None:
    """ADD_N is a sum of two, and then of one more at a time: it has no integer kernel at all."""
    main = model.subgraphs[0]

    def pairs(name: str, op: Any) -> list[Any] | None:
        if name != "ADD_N" or len(op.inputs) < 2 or main.tensors[op.outputs[0]].type != _FLOAT32:
            return None
        reads, written = [int(i) for i in op.inputs], int(op.outputs[0])
        sums = [copy_tensor(main, written, b"/sum%d" % at) for at in range(len(reads) - 2)] + [written]
        lefts = [reads[0], *sums[:-1]]
        return [
            _sum(model, (left, right), made, NONE) for left, right, made in zip(lefts, reads[1:], sums, strict=True)
        ]

    done = replace_operators(model, pairs)
    return f"{done} sums of several written as sums of two" if done else None


def multiply_powers(model: Any) -> str | None:
    """SQUARE, and POW of 2, are products of a tensor with itself."""
    main = model.subgraphs[0]

    def product(name: str, op: Any) -> list[Any] | None:
        if main.tensors[op.outputs[0]].type != _FLOAT32:
            return None
        power = constant(model, int(op.inputs[1])) if name == "POW" else None
        twice = power is not None and power.size > 0 and bool((power == 2).all()) and _same(main, op)
        if name != "SQUARE" and not twice:
            return None
        return [multiply(model, (int(op.inputs[0]), int(op.inputs[0])), int(op.outputs[0]))]

    done = replace_operators(model, product)
    return f"{done} squares written as products" if done else None


def multiply_by_reciprocal(model: Any) -> str | None:
    """A division by constants is a product with their reciprocals; only new runtimes divide on int8."""
    main = model.subgraphs[0]

    def product(name: str, op: Any) -> list[Any] | None:
        below = constant(model, int(op.inputs[1])) if name == "DIV" else None
        if below is None or below.dtype != np.float32 or not (np.abs(below) > np.finfo(np.float32).tiny).all():
            return None
        if constant(model, int(op.inputs[0])) is not None:
            return None
        with np.errstate(over="ignore"):
            factor = (1 / below.astype(np.float64)).astype(np.float32)
        if not np.isfinite(factor).all():
            return None
        made = add_constant_tensor(model, main.tensors[op.outputs[0]].name + b"/reciprocal", factor)
        activation = activation_of(op)
        return [multiply(model, (int(op.inputs[0]), made), int(op.outputs[0]), activation)]

    done = replace_operators(model, product)
    return f"{done} divisions by constants written as products" if done else None


def floor_quotients(model: Any) -> str | None:
    """FLOOR_DIV is a DIV, rounded down: on int8 the second is looked up."""
    main = model.subgraphs[0]

    def two(name: str, op: Any) -> list[Any] | None:
        written = int(op.outputs[0])
        if name != "FLOOR_DIV" or main.tensors[written].type != _FLOAT32:
            return None
        quotient = copy_tensor(main, written, b"/quotient")
        reads = (int(op.inputs[0]), int(op.inputs[1]))
        return [
            operator(model, _B.DIV, reads, quotient, schema.DivOptionsT()),
            operator(model, _B.FLOOR, (quotient,), written, None),
        ]

    done = replace_operators(model, two)
    return f"{done} floored divisions written as two operators" if done else None


def _is(model: Any, main: Any, op: Any, name: str) -> bool:
    kind = op_name(model.operatorCodes[op.opcodeIndex])
    return kind == name and bool(main.tensors[op.outputs[0]].type == _FLOAT32)


def _same(main: Any, op: Any) -> bool:
    """Whether an operator's output has the shape of its first input: nothing is spread."""
    return list(main.tensors[op.inputs[0]].shape) == list(main.tensors[op.outputs[0]].shape)
