"""Simplifies what unrolling a loop leaves: steps on the zeros that a state begins with, biases added apart.

Folds operators on constants alone, products with zeros, sums with zeros; lets a dense layer add the bias that is added
after it. Computes the same function with fewer roundings of an int8 model. Knows only the operators of recurrent cells.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_buffer, add_tensor, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import kinds, readers, writers
from skerry_host.builder.modelfile.parts import NONE, activation_of


def tidy(model: Any) -> None:
    """Fold constants, then move biases into dense layers, in place."""
    _Folding(model).run()
    _drop_reshapes(model)
    _fuse_biases(model)


_Known = tuple[list[str], "Counter[int]", dict[int, Any]]
"""The names of operator codes, how often each tensor is read, and which operator writes it."""


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "LOGISTIC": _sigmoid,
    "TANH": np.tanh,
    "RELU": lambda x: np.maximum(x, 0),
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}


class _Folding:
    """One walk over the operators in their order; what is constant is known when it is read."""

    def __init__(self, model: Any) -> None:
        self._model, self._main = model, model.subgraphs[0]
        self._known: dict[int, Array] = {}
        self._same: dict[int, int] = {}
        self._keep = set(map(int, self._main.outputs))

    def run(self) -> None:
        """Leave out the operators that are constant, or change nothing."""
        kept = []
        for op in self._main.operators:
            op.inputs = np.array([self._same.get(int(i), int(i)) for i in op.inputs], np.int32)
            if self._keep & set(map(int, op.outputs)) or not self._folded(op):
                kept.append(op)
        self._main.operators = kept
        for op in kept:
            for index in map(int, op.inputs):
                if index in self._known:
                    self._write(index)

    def _constant(self, index: int) -> Array | None:
        if index in self._known:
            return self._known[index]
        found = constant(self._model, index)
        return None if found is None or found.dtype != np.float32 else found

    def _folded(self, op: Any) -> bool:
        name = op_name(self._model.operatorCodes[op.opcodeIndex])
        return activation_of(op) == NONE and (self._computed(name, op) or self._trivial(name, op))

    def _computed(self, name: str, op: Any) -> bool:
        inputs = [int(i) for i in op.inputs]
        shapes = [tuple(int(n) for n in self._main.tensors[i].shape) for i in map(int, op.outputs)]
        if name == "SPLIT":
            whole = self._constant(inputs[1])
            axis = constant(self._model, inputs[0])
            if whole is None or axis is None:
                return False
            made = np.split(whole, len(shapes), int(axis))
        else:
            value = self._value(name, inputs)
            if value is None:
                return False
            made = [value.reshape(shapes[0])]
        self._known |= {int(i): part.astype(np.float32) for i, part in zip(op.outputs, made, strict=True)}
        return True

    def _value(self, name: str, inputs: list[int]) -> Array | None:
        if name == "RESHAPE" or name in _UNARY:
            one = self._constant(inputs[0])
            return None if one is None else _UNARY.get(name, np.asarray)(one)
        got = [self._constant(i) for i in inputs if i >= 0]
        if any(one is None for one in got):
            return None
        if name in _BINARY:
            return _BINARY[name](*(one for one in got if one is not None))
        if name == "FULLY_CONNECTED":
            x, weights, *bias = (one for one in got if one is not None)
            return np.asarray(x @ weights.T + (bias[0] if bias else np.float32(0)))
        return None

    def _trivial(self, name: str, op: Any) -> bool:
        """A product with zeros is zeros; a sum with zeros is the other term."""
        if name not in {"ADD", "MUL"}:
            return False
        out = self._main.tensors[int(op.outputs[0])]
        for zeros, other in (map(int, op.inputs), map(int, reversed(op.inputs))):
            found = self._constant(zeros)
            if found is None or found.any():
                continue
            if name == "MUL":
                self._known[int(op.outputs[0])] = np.zeros([int(n) for n in out.shape], np.float32)
                return True
            if list(self._main.tensors[other].shape) == list(out.shape):
                self._same[int(op.outputs[0])] = other
                return True
        return False

    def _write(self, index: int) -> None:
        tensor = self._main.tensors[index]
        if not tensor.buffer:
            tensor.buffer = add_buffer(self._model, self._known[index])


def _drop_reshapes(model: Any) -> None:
    """An ADD of (1, n) and (n,) broadcasts, and so it does without the RESHAPE that made (n,) of (1, n)."""
    main = model.subgraphs[0]
    names, read = kinds(model), readers(main)
    flat = {int(op.outputs[0]): op for op in main.operators if names[op.opcodeIndex] == "RESHAPE"}
    dropped = []
    for op in main.operators:
        if names[op.opcodeIndex] != "ADD":
            continue
        for at, index in enumerate(map(int, op.inputs)):
            reshape = flat.get(index)
            if reshape is None or read[index] != 1:
                continue
            source = int(reshape.inputs[0])
            if list(main.tensors[source].shape) == list(main.tensors[int(op.outputs[0])].shape):
                op.inputs[at] = source
                dropped.append(reshape)
    main.operators = [op for op in main.operators if not any(op is one for one in dropped)]


def _fuse_biases(model: Any) -> None:
    """FC + b, and (FC + y) + b: the dense layer adds b itself. As often as there is one."""
    main = model.subgraphs[0]
    while True:
        known = kinds(model), readers(main), writers(main)
        fused = [op for op in main.operators if known[0][op.opcodeIndex] == "ADD" and _fuse(model, op, known)]
        if not fused:
            return
        main.operators = [op for op in main.operators if not any(op is one for one in fused)]


def _fuse(model: Any, op: Any, known: _Known) -> bool:
    _names, read, written = known
    main = model.subgraphs[0]
    if activation_of(op) != NONE:
        return False
    for bias, other in (map(int, op.inputs), map(int, reversed(op.inputs))):
        shape = [int(n) for n in main.tensors[int(op.outputs[0])].shape]
        values = constant(model, bias)
        if values is None or values.dtype != np.float32 or values.size != shape[-1] or read[other] != 1:
            continue
        before = written.get(other)
        dense = _dense(before, known) if before is not None else None
        if before is None or dense is None or [int(n) for n in main.tensors[other].shape] != shape:
            continue
        dense.inputs = np.array([*dense.inputs[:2], _flat(model, bias)], np.int32)
        before.outputs = op.outputs
        return True
    return False


def _dense(op: Any, known: _Known) -> Any:
    """The dense layer without a bias that an operator is, or that an ADD reads and nobody else."""
    names, read, written = known
    if activation_of(op) != NONE:
        return None
    if names[op.opcodeIndex] == "FULLY_CONNECTED":
        return op if len(op.inputs) < 3 or op.inputs[2] < 0 else None
    if names[op.opcodeIndex] != "ADD":
        return None
    for index in map(int, op.inputs):
        found = written.get(index)
        if found is not None and read[index] == 1 and names[found.opcodeIndex] == "FULLY_CONNECTED":
            return _dense(found, known)
    return None


def _flat(model: Any, index: int) -> int:
    """The bias with one axis."""
    main = model.subgraphs[0]
    tensor = main.tensors[index]
    if len(tensor.shape) == 1:
        return index
    name = bytes(tensor.name or b"") + b"/flat%d" % len(main.tensors)
    return add_tensor(main, name, tensor.type, [int(np.prod(tensor.shape))], tensor.buffer)
