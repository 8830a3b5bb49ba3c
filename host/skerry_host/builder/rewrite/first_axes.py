"""Which tensors with an open first axis have just the batch there, which is 1 once it is fixed. Changes nothing.

A converter writes 1 for every size that it leaves open: rows of all frames, (-1, 4), look like a batch of one, too.
"""

from math import prod
from typing import Any

import numpy as np

from skerry_host.builder.modelfile.constants import constant, has_values
from skerry_host.builder.modelfile.links import kinds, writers

_MOVES = {"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"}
"""Operators that keep the number of values: it says how long the one open axis is."""
_EACH = {
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "FLOOR_DIV", "ADD_N", "PRELU"),
    *("ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "SIN", "COS", "FLOOR", "CEIL", "ROUND", "CAST"),
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH", "LOGISTIC", "TANH", "SOFTMAX"),
    *("LOG_SOFTMAX", "L2_NORMALIZATION", "QUANTIZE", "DEQUANTIZE", "BATCH_MATMUL"),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"),
    *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"),
    *("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V"),
    *("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "SELECT", "SELECT_V2"),
    *("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT"),
}
"""Operators that make no more samples of a batch, whatever else they do: of one there is one left."""
_PADS = {"PAD", "PADV2", "MIRROR_PAD"}
_JOINS = {"CONCATENATION", "PACK"}


class FirstAxes:
    """What is known of the first axes of the first subgraph, as it was when this was made."""

    def __init__(self, model: Any) -> None:
        self._model, self._main = model, model.subgraphs[0]
        self._kinds, self._writers = kinds(model), writers(self._main)
        self._known = {int(i): _is_one(self._main.tensors[int(i)]) for i in self._main.inputs}

    def known(self, index: int) -> bool:
        """Whether a tensor has the shape that the file says, once the batch is 1."""
        tensor = self._main.tensors[index]
        if tensor.shape is None or tensor.shapeSignature is None:
            return tensor.shape is not None
        open_axes = [axis for axis, n in enumerate(tensor.shapeSignature) if int(n) < 0]
        if not open_axes:
            return True
        if index not in self._known:
            self._known[index] = False  # of what reads itself nothing is known
            self._known[index] = open_axes == [0] and _is_one(tensor) and self._follows(index)
        return self._known[index]

    def _follows(self, index: int) -> bool:
        op = self._writers.get(index)
        if op is None:
            return False
        name, reads = self._kinds[op.opcodeIndex], [int(i) for i in op.inputs if i >= 0]
        if name in _MOVES:
            return self.known(reads[0]) and prod(self._shape(reads[0])) == prod(self._shape(index))
        if not all(self.known(read) for read in reads if not has_values(self._model, read)):
            return False
        if name in _JOINS:
            return int(op.builtinOptions.axis) % len(self._shape(index)) != 0
        return name in _EACH or (name in _PADS and self._pads_no_batch(reads[1]))

    def _pads_no_batch(self, paddings: int) -> bool:
        found = constant(self._model, paddings)
        return found is not None and not np.any(found.reshape(-1, 2)[0])

    def _shape(self, index: int) -> list[int]:
        shape = self._main.tensors[index].shape
        return [] if shape is None else [int(n) for n in shape]


def _is_one(tensor: Any) -> bool:
    """Whether only the first axis is open, and stored as 1."""
    if tensor.shape is None or not len(tensor.shape) or int(tensor.shape[0]) != 1:
        return False
    return tensor.shapeSignature is None or all(int(n) >= 0 for n in tensor.shapeSignature[1:])
