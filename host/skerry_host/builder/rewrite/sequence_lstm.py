"""Unrolls UNIDIRECTIONAL_SEQUENCE_LSTM, the fused layer of Keras 2 and of TFLite files, step by step.

The gates of a step are one dense layer on its input and one on the state before (Hochreiter and Schmidhuber; the order
of gates and inputs is that of tensorflow/lite/kernels/unidirectional_sequence_lstm.cc). Leaves layers with peepholes, a
projection, layer normalization or coupled gates, and sequences of one step (what streams needs the state of the call
before) or of more than `MAX_STEPS`. The state begins at zero with every sample, as in training. The clip of the cell at
ten, which converters write where the source has none, is left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_tensor, constant
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.links import drop_unread
from skerry_host.builder.modelfile.parts import NONE, operator
from skerry_host.builder.rewrite.rows import one_row, read_row, row_of, unnamed

MAX_STEPS = 512
_TANH = schema.ActivationFunctionType.TANH
_OPERATORS = schema.BuiltinOperator
_INPUT_WEIGHTS, _STATE_WEIGHTS, _BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
_UNUSED = (9, 10, 11, 16, 17, 20, 21, 22, 23)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer: its operator, the weights of all gates (4 n, inputs) and (4 n, n), biases (4 n,)."""

    op: Any
    kernel: Array
    recurrent: Array
    bias: Array
    time_axis: int


def unroll_sequence_lstm(model: Any) -> str | None:
    """Write out every such layer that can be, in place."""
    main, made, steps = model.subgraphs[0], [], []
    for op in main.operators or []:
        layer = _layer(model, op)
        if layer is None:
            made.append(op)
            continue
        written = _Unrolled(model, layer)
        made += written.operators
        steps.append(written.steps)
    if not steps:
        return None
    main.operators = made
    drop_unread(model)
    return f"{len(steps)} fused LSTM unrolled ({', '.join(map(str, steps))} steps)"


def _layer(model: Any, op: Any) -> _Layer | None:
    if op_name(model.operatorCodes[op.opcodeIndex]) != "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return None
    inputs = [int(i) for i in op.inputs]
    main, options = model.subgraphs[0], op.builtinOptions
    axis = 0 if options.timeMajor else 1
    weights = [constant(model, inputs[at]) for at in (*_INPUT_WEIGHTS, *_STATE_WEIGHTS, *_BIASES)]
    whole = [one for one in weights if one is not None and one.dtype == np.float32]
    plain = all(at >= len(inputs) or inputs[at] < 0 for at in _UNUSED) and options.fusedActivationFunction == _TANH
    shape = [int(n) for n in main.tensors[inputs[0]].shape]
    if not plain or len(whole) != len(weights) or not 1 < shape[axis] <= MAX_STEPS or shape[1 - axis] != 1:
        return None
    return _Layer(op, np.concatenate(whole[:4]), np.concatenate(whole[4:8]), np.concatenate(whole[8:]), axis)


class _Unrolled:
    """The operators of one layer."""

    def __init__(self, model: Any, layer: _Layer) -> None:
        self._model, self._main, self._layer = model, model.subgraphs[0], layer
        self.operators: list[Any] = []
        self._name = bytes(self._main.tensors[int(layer.op.outputs[0])].name or b"lstm")
        self._units = layer.recurrent.shape[1]
        self._weights = [unnamed(model, one) for one in (layer.kernel, layer.recurrent, layer.bias)]
        self._axis = unnamed(model, np.array(1, np.int32))
        source = int(layer.op.inputs[0])
        self.steps = int(self._main.tensors[source].shape[layer.time_axis])
        states = self._run(source)
        self._hand_over(states)

    def _run(self, source: int) -> list[int]:
        states: list[int] = []
        cell: int | None = None
        for step in range(self.steps):
            cell = self._step(source, step, (states[-1] if states else None, cell))
            states.append(self._last)
        return states

    def _step(self, source: int, step: int, before: tuple[int | None, int | None]) -> int:
        """The cell after a step; `_last` is the state. Without a state before both are zero."""
        state, cell = before
        label, units = b"/step%d" % step, self._units
        x = self._tensor(label + b"/x", self._layer.kernel.shape[1])
        self.operators.append(read_row(self._model, source, one_row(self._layer.time_axis, step), x))
        gates = self._dense(label + b"/input", (x, self._weights[0], self._weights[2]))
        if state is not None:
            old = self._dense(label + b"/state", (state, self._weights[1]))
            gates = self._binary(_OPERATORS.ADD, label + b"/gates", (gates, old), 4 * units)
        let_in, forget, change, let_out = self._split(label, gates)
        fresh = self._binary(_OPERATORS.MUL, label + b"/new", (let_in, change), units)
        if cell is not None:
            kept = self._binary(_OPERATORS.MUL, label + b"/kept", (forget, cell), units)
            fresh = self._binary(_OPERATORS.ADD, label + b"/cell", (kept, fresh), units)
        shown = self._unary(_OPERATORS.TANH, label + b"/shown", fresh)
        self._last = self._binary(_OPERATORS.MUL, label + b"/out", (let_out, shown), units)
        return fresh

    def _split(self, label: bytes, gates: int) -> list[int]:
        """The gates after their functions: input, forget, cell, output."""
        parts = [self._tensor(label + b"/part%d" % at, self._units) for at in range(4)]
        options = schema.SplitOptionsT()
        options.numSplits = 4
        split = operator(self._model, _OPERATORS.SPLIT, (self._axis, gates), parts[0], options)
        split.outputs = np.array(parts, np.int32)
        self.operators.append(split)
        kinds = (_OPERATORS.LOGISTIC, _OPERATORS.LOGISTIC, _OPERATORS.TANH, _OPERATORS.LOGISTIC)
        return [
            self._unary(kind, label + b"/gate%d" % at, part)
            for at, (kind, part) in enumerate(zip(kinds, parts, strict=True))
        ]

    def _tensor(self, label: bytes, size: int) -> int:
        return add_tensor(self._main, self._name + label, schema.TensorType.FLOAT32, (1, size))

    def _dense(self, label: bytes, reads: tuple[int, ...]) -> int:
        out = self._tensor(label, 4 * self._units)
        reads = (*reads, -1)[:3]
        self.operators.append(
            operator(self._model, _OPERATORS.FULLY_CONNECTED, reads, out, schema.FullyConnectedOptionsT())
        )
        return out

    def _binary(self, kind: int, label: bytes, reads: tuple[int, int], size: int) -> int:
        out = self._tensor(label, size)
        options = schema.AddOptionsT() if kind == _OPERATORS.ADD else schema.MulOptionsT()
        options.fusedActivationFunction = NONE
        self.operators.append(operator(self._model, kind, reads, out, options))
        return out

    def _unary(self, kind: int, label: bytes, read: int) -> int:
        out = self._tensor(label, self._units)
        self.operators.append(operator(self._model, kind, (read,), out, None))
        return out

    def _hand_over(self, states: list[int]) -> None:
        """Readers of one step read its state; for others the states are put together as the layer wrote them."""
        out, renamed = int(self._layer.op.outputs[0]), {}
        for reader in self._main.operators:
            row = row_of(self._model, reader, out, self._layer.time_axis)
            if row is not None:
                renamed[int(reader.outputs[0])] = states[row]
        for reader in self._main.operators:
            reader.inputs = np.array([renamed.get(int(i), int(i)) for i in reader.inputs], np.int32)
        kept = {int(i) for i in self._main.outputs}
        others = [op for op in self._main.operators if not set(map(int, op.outputs)) & set(renamed)]
        if any(out in set(map(int, op.inputs)) for op in others) or out in kept or kept & set(renamed):
            self._put_together(states, out)

    def _put_together(self, states: list[int], out: int) -> None:
        rows = self._tensor(b"/rows", self._units)
        self._main.tensors[rows].shape = np.array([self.steps, self._units], np.int32)
        options = schema.ConcatenationOptionsT()
        options.axis = 0
        shape = np.asarray(self._main.tensors[out].shape).astype(np.int32)
        wanted = schema.ReshapeOptionsT()
        wanted.newShape = shape
        self.operators.append(operator(self._model, _OPERATORS.CONCATENATION, tuple(states), rows, options))
        reads = (rows, unnamed(self._model, shape))
        self.operators.append(operator(self._model, _OPERATORS.RESHAPE, reads, out, wanted))
