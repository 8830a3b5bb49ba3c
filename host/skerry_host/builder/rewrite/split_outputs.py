"""Gives an output in parts, each computed on its own: so that the quantizer can give each a scale of its own.

A part is cut off as early as possible: through layout, element-wise operators and concatenations back to where the
values are made, even into a convolution's filters. What it cannot go through is cut behind. Exact: the parts one after
the other are the output. Which channels are a part is decided by whoever calls this.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.wire.manifest import Join
from skerry_host.builder.modelfile.channel_blocks import Blocks
from skerry_host.builder.modelfile.constants import add_buffer, add_constant_tensor, add_tensor, constant
from skerry_host.builder.modelfile.joins import write_joins
from skerry_host.builder.modelfile.links import kinds, writers
from skerry_host.builder.modelfile.parts import activation_of, operator
from skerry_host.builder.modelfile.tflite import text
from skerry_host.builder.rewrite.dead import drop_dead

_UNARY = {
    *("LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "ELU", "HARD_SWISH", "GELU"),
    *("EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "ABS", "NEG", "DEQUANTIZE"),
}
_BINARY = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "PRELU"}
_RESHAPES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
_FILTERED = {"CONV_2D", "FULLY_CONNECTED"}

Cut = tuple[int, int, int]
"""An axis, and the first and the last place but one along it."""


def split_outputs(model: Any, parted: dict[int, Blocks]) -> tuple[Join, ...]:
    """Give outputs (by place) of a `schema.ModelT` in blocks, in place, and note how they join in its metadata.

    One whose parts would be no operator's result stays whole.
    """
    main, slicer = model.subgraphs[0], _Slicer(model)
    names = _output_names(model)
    outputs: list[int] = []
    renamed: dict[int, list[tuple[str, int]]] = {}
    joins: list[Join] = []
    for place, tensor in enumerate(int(i) for i in main.outputs):
        blocks = parted.get(place)
        pieces = [] if blocks is None else [slicer.cut(tensor, (blocks.axis, a, b + 1)) for a, b in blocks.ranges]
        if blocks is None or not all(slicer.computed(piece) for piece in pieces):
            outputs.append(tensor)
            continue
        joins.append(Join(names[place], tuple(range(len(outputs), len(outputs) + len(pieces))), blocks.axis))
        labels = [f"{names[place]}.{a}" if a == b else f"{names[place]}.{a}-{b}" for a, b in blocks.ranges]
        renamed[tensor] = list(zip(labels, pieces, strict=True))
        outputs += pieces
    if not joins:
        return ()
    slicer.finish()
    main.outputs = np.array(outputs, np.int32)
    for signature in model.signatureDefs or []:
        signature.outputs = [new for entry in signature.outputs for new in _entries(entry, renamed)]
    drop_dead(model)
    write_joins(model, joins)
    return tuple(joins)


def _output_names(model: Any) -> list[str]:
    """The public names of the outputs, in order."""
    main = model.subgraphs[0]
    known = {int(e.tensorIndex): text(e.name) for s in (model.signatureDefs or [])[:1] for e in s.outputs}
    return [known.get(int(i), text(main.tensors[int(i)].name)) for i in main.outputs]


def _entries(entry: Any, renamed: dict[int, list[tuple[str, int]]]) -> list[Any]:
    if int(entry.tensorIndex) not in renamed:
        return [entry]
    made = []
    for name, tensor in renamed[int(entry.tensorIndex)]:
        one = schema.TensorMapT()
        one.name, one.tensorIndex = name.encode(), tensor
        made.append(one)
    return made


class _Slicer:
    """Makes parts of tensors. New operators come after all others, so that what they read is there."""

    def __init__(self, model: Any) -> None:
        self._model, self._main = model, model.subgraphs[0]
        self._codes = kinds(model)
        self._writers = writers(self._main)
        self._made: dict[tuple[int, Cut], int] = {}
        self._new: list[Any] = []

    def finish(self) -> None:
        """Add what was made to the graph."""
        self._main.operators = [*self._main.operators, *self._new]

    def computed(self, tensor: int) -> bool:
        """Whether an operator writes a tensor."""
        return tensor in self._writers

    def cut(self, tensor: int, cut: Cut) -> int:
        """The tensor with a part of another's places along one axis."""
        axis, start, stop = cut
        if (start, stop) == (0, self._shape(tensor)[axis]):
            return tensor
        if (tensor, cut) not in self._made:
            self._made[tensor, cut] = self._cut(tensor, cut)
        return self._made[tensor, cut]

    def _cut(self, tensor: int, cut: Cut) -> int:
        values = self._values(tensor)
        if values is not None:
            return self._constant(tensor, np.take(values, range(*cut[1:]), axis=cut[0]), cut)
        op = self._writers.get(tensor)
        name = self._codes[op.opcodeIndex] if op is not None else ""
        made = next((rule(op, tensor, cut) for names, rule in self._rules() if name in names), None)
        return self._sliced(tensor, cut) if made is None else made

    def _rules(self) -> tuple[tuple[set[str], Callable[[Any, int, Cut], int | None]], ...]:
        return (
            (_UNARY, self._elementwise),
            (_BINARY, self._elementwise),
            (_RESHAPES, self._reshaped),
            ({"TRANSPOSE"}, self._transposed),
            ({"CONCATENATION"}, self._concatenated),
            (_FILTERED, self._filtered),
            ({"SOFTMAX"}, self._softmax),
        )

    def _elementwise(self, op: Any, tensor: int, cut: Cut) -> int:
        """Each operand is cut where it is as long as the result, and not where it is repeated."""
        axis, start, stop = cut
        reads = []
        for read in (int(i) for i in op.inputs):
            own = axis - (len(self._shape(tensor)) - len(self._shape(read)))
            whole = own < 0 or self._shape(read)[own] == 1
            reads.append(read if whole else self.cut(read, (own, start, stop)))
        return self._copied(op, reads, tensor, cut)

    def _softmax(self, op: Any, tensor: int, cut: Cut) -> int | None:
        """Its last axis is one whole."""
        return None if cut[0] == len(self._shape(tensor)) - 1 else self._elementwise(op, tensor, cut)

    def _reshaped(self, op: Any, tensor: int, cut: Cut) -> int | None:
        """Where the axis is one of the operand's, too."""
        axis, start, stop = cut
        read = int(op.inputs[0])
        before, after = self._shape(read), self._shape(tensor)
        same = [a for a, n in enumerate(before) if n == after[axis] and prod(before[:a]) == prod(after[:axis])]
        if not same:
            return None
        written = self._new_tensor(tensor, cut)
        shape = np.array(self._shape(written), np.int32)
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        reads = (self.cut(read, (same[0], start, stop)), self._integers(written, shape))
        return self._add(operator(self._model, schema.BuiltinOperator.RESHAPE, reads, written, options))

    def _transposed(self, op: Any, tensor: int, cut: Cut) -> int | None:
        order = self._values(int(op.inputs[1]))
        if order is None:
            return None
        axis, start, stop = cut
        read = self.cut(int(op.inputs[0]), (int(order[axis]), start, stop))
        return self._copied(op, [read, int(op.inputs[1])], tensor, cut)

    def _concatenated(self, op: Any, tensor: int, cut: Cut) -> int | None:
        """Along its own axis the parts that are met, along another a part of each."""
        axis, start, stop = cut
        along = int(op.builtinOptions.axis) % len(self._shape(tensor))
        if activation_of(op):
            return None
        reads, at = [], 0
        for read in (int(i) for i in op.inputs):
            size = self._shape(read)[axis]
            low, high = (max(start, at) - at, min(stop, at + size) - at) if axis == along else (start, stop)
            at += size
            if low < high:
                reads.append(self.cut(read, (axis, low, high)))
        return reads[0] if len(reads) == 1 else self._copied(op, reads, tensor, cut)

    def _filtered(self, op: Any, tensor: int, cut: Cut) -> int | None:
        """A convolution with some of its filters; they are the first axis of its weights, and the bias."""
        axis, start, stop = cut
        constants = [int(i) for i in op.inputs[1:] if int(i) >= 0]
        if axis != len(self._shape(tensor)) - 1 or any(self._values(i) is None for i in constants):
            return None
        if self._shape(constants[0])[0] != self._shape(tensor)[axis]:
            return None
        reads = [int(op.inputs[0]), *(self.cut(i, (0, start, stop)) for i in constants)]
        return self._copied(op, reads, tensor, cut)

    def _sliced(self, tensor: int, cut: Cut) -> int:
        """Cut behind what nothing goes through."""
        axis, start, _stop = cut
        written = self._new_tensor(tensor, cut)
        begin = np.zeros(len(self._shape(tensor)), np.int32)
        begin[axis] = start
        size = np.array(self._shape(written), np.int32)
        reads = (tensor, self._integers(written, begin), self._integers(written, size))
        return self._add(operator(self._model, schema.BuiltinOperator.SLICE, reads, written, schema.SliceOptionsT()))

    def _copied(self, op: Any, reads: Sequence[int], tensor: int, cut: Cut) -> int:
        """The same operator on other operands."""
        made = schema.OperatorT()
        made.__dict__.update(op.__dict__)
        made.inputs, made.outputs = np.array(reads, np.int32), np.array([self._new_tensor(tensor, cut)], np.int32)
        return self._add(made)

    def _add(self, op: Any) -> int:
        written = int(op.outputs[0])
        self._new.append(op)
        self._writers[written] = op
        return written

    def _new_tensor(self, tensor: int, cut: Cut) -> int:
        axis, start, stop = cut
        other, shape = self._main.tensors[tensor], list(self._shape(tensor))
        shape[axis] = stop - start
        return add_tensor(self._main, f"{text(other.name)}/{start}-{stop - 1}".encode(), other.type, shape)

    def _constant(self, tensor: int, values: Any, cut: Cut) -> int:
        index = self._new_tensor(tensor, cut)
        self._main.tensors[index].buffer = add_buffer(self._model, np.ascontiguousarray(values))
        return index

    def _integers(self, beside: int, values: Any) -> int:
        name = f"{text(self._main.tensors[beside].name)}/{len(self._main.tensors)}".encode()
        return add_constant_tensor(self._model, name, values)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._main.tensors[tensor].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def _values(self, tensor: int) -> Any:
        """A constant's values, None for what is computed, or of a dtype that is not cut here."""
        values = constant(self._model, tensor)
        return values if values is not None and values.dtype in {np.dtype("<f4"), np.dtype("<i4")} else None
