"""Which channels of an output are of one kind: found in the graph where they are concatenated, else in their values.

A detector's boxes and scores may lie side by side in one tensor. Whoever measures, or gives out a scale, must not mix
them. Pure: a graph and the values' extremes in, blocks of channels out; changes no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.graph import Graph, Op

KIND_RATIO = 4.0
"""Parts of a concatenation whose values reach as far but for this factor are of one kind: two bits of precision."""
GUESSED_RATIO = 8.0
"""The same, for channels of which only the values show that they may be of several kinds."""
CROWDED = 4
"""An axis that is so many times as long as the others together holds places, not channels."""
MOST_BLOCKS = 16
"""More kinds than this are rather differences within a kind."""

_LAYOUT = {
    *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "QuantizeLinear", "DequantizeLinear"),
}
_SCALED = {"MUL", "DIV", "ADD", "SUB", "Mul", "Div", "Add", "Sub"}
_CONCATENATE = {"CONCATENATION", "Concat"}
_ONE_KIND = {
    *("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION", "RELU6", "RELU_0_TO_1", "ARG_MAX"),
    *("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Tanh", "LpNormalization", "ArgMax"),
}


@dataclass(frozen=True, slots=True)
class Extremes:
    """The smallest and the largest value of each place along one axis of an output, over many samples: (n,) each."""

    low: Array
    high: Array

    @property
    def reach(self) -> Array:
        """The range that holds each place's values and zero (n,), which is what an integer's scale must cover."""
        reach: Array = np.maximum(self.high, 0) - np.minimum(self.low, 0)
        return reach


@dataclass(frozen=True, slots=True)
class Blocks:
    """Channels along `axis` (which counts the batch), from `starts` each to the next; `size` channels in all.

    `mixed` are the starts of blocks in which channels of another kind may lie between: nothing says that they do not.
    """

    axis: int
    starts: tuple[int, ...]
    size: int
    mixed: frozenset[int] = frozenset()

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last channel of each block."""
        return [(a, b - 1) for a, b in zip(self.starts, (*self.starts[1:], self.size), strict=True)]


def candidate_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that may hold channels: the last, and the first after the batch (channels-first).

    The latter not where it has far more places than the rest together: those are anchors, not channels.
    """
    if len(shape) < 2:
        return ()
    first = len(shape) > 2 and shape[1] <= CROWDED * prod(shape[2:])
    return (len(shape) - 1, *((1,) if first else ()))


def blocks_of(graph: Graph, place: int, extremes: dict[int, Extremes], *, one_kind: bool = False) -> Blocks:
    """The blocks of output `place` of a float model; `extremes` by axis are of its values.

    `one_kind`: the task says that all channels are, as classes are. With nothing to tell apart it is one block over
    the last axis.
    """
    shape = graph.tensors[graph.outputs[place]].shape
    last = len(shape) - 1
    found = _Walk(graph, shape)
    found.from_output(graph.outputs[place])
    options = {axis: _merged(sizes, extremes[axis].reach) for axis, sizes in found.parts.items() if axis in extremes}
    plain = one_kind or (found.one_kind and not found.parts)
    if one_kind:
        options = {}
    elif not found.parts and not found.one_kind:
        options = {axis: _guessed(known.reach) for axis, known in extremes.items()}
    several = {axis: starts for axis, starts in options.items() if 1 < len(starts) <= MOST_BLOCKS}
    if not several:
        return Blocks(last, (0,), shape[last] if shape else 1, frozenset() if plain else frozenset((0,)))
    axis = max(several, key=lambda axis: _contrast(several[axis], extremes[axis].reach))
    sure = found.sure.get(axis, set())
    return Blocks(axis, several[axis], shape[axis], frozenset(several[axis]) - sure)


class _Walk:
    """Follows an output back through what only moves or scales its values, and notes where they were put together."""

    def __init__(self, graph: Graph, shape: tuple[int, ...]) -> None:
        self._graph, self._shape = graph, shape
        self._writers = {tensor: op for op in graph.ops for tensor in op.outputs}
        self._seen: set[int] = set()
        self.parts: dict[int, list[int]] = {}
        self.sure: dict[int, set[int]] = {}
        self.joined = False
        self.one_kind = False

    def from_output(self, tensor: int) -> None:
        """Walk from a tensor."""
        op = self._writers.get(tensor)
        if op is None or tensor in self._seen:
            return
        self._seen.add(tensor)
        if op.name in _ONE_KIND:
            self.one_kind = True
            return
        inputs = [i for i in op.inputs if not self._graph.tensors[i].constant_bytes]
        if op.name in _CONCATENATE:
            self._note(op, inputs)
        elif op.name not in _LAYOUT and not (op.name in _SCALED and len(inputs) == 1):
            return
        for source in inputs:
            self.from_output(source)

    def _is_one_kind(self, tensor: int) -> bool:
        """Whether a part comes out of a softmax or the like as it is."""
        walk = _Walk(self._graph, self._shape)
        walk.from_output(tensor)
        return walk.one_kind and not walk.parts and not walk.joined

    def _note(self, op: Op, inputs: Sequence[int]) -> None:
        """The sizes of the parts, for the only axis of the output that is as long as they are together."""
        self.joined = True
        whole = self._graph.tensors[op.outputs[0]].shape
        shapes = [self._graph.tensors[i].shape for i in inputs]
        along = [
            axis
            for axis in range(1, len(whole))
            if all(len(s) == len(whole) for s in shapes) and sum(s[axis] for s in shapes) == whole[axis]
        ]
        if len(inputs) < 2 or len(inputs) != len(op.inputs) or not along:
            return
        sizes = [s[along[0]] for s in shapes]
        same = [axis for axis in range(1, len(self._shape)) if self._shape[axis] == sum(sizes)]
        if len(same) == 1 and same[0] not in self.parts:
            self.parts[same[0]] = sizes
            starts = [sum(sizes[:at]) for at in range(len(sizes))]
            self.sure[same[0]] = {start for start, i in zip(starts, inputs, strict=True) if self._is_one_kind(i)}


def _merged(sizes: Sequence[int], reach: Array) -> tuple[int, ...]:
    """The starts of blocks of parts, where neighbours that reach about as far are one block."""
    starts, kept = [0], 0.0
    at = 0
    for size in sizes:
        own = float(reach[at : at + size].max())
        if at and not _alike(kept, own, KIND_RATIO):
            starts.append(at)
            kept = own
        else:
            kept = max(kept, own)
        at += size
    return tuple(starts)


def _guessed(reach: Array) -> tuple[int, ...]:
    """The starts of blocks between which all channels of one side reach much farther than all of the other."""
    if len(reach) < 2:
        return (0,)
    low, high = np.minimum.accumulate, np.maximum.accumulate
    left_low, left_high = low(reach)[:-1], high(reach)[:-1]
    right_low, right_high = low(reach[::-1])[::-1][1:], high(reach[::-1])[::-1][1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.maximum(np.nan_to_num(left_low / right_high), np.nan_to_num(right_low / left_high))
    cut = int(ratios.argmax()) + 1
    if ratios[cut - 1] < GUESSED_RATIO:
        return (0,)
    return (*_guessed(reach[:cut]), *(cut + start for start in _guessed(reach[cut:])))


def _contrast(starts: tuple[int, ...], reach: Array) -> float:
    ends = [*starts[1:], len(reach)]
    most = [float(reach[a:b].max()) for a, b in zip(starts, ends, strict=True)]
    return max(most) / max(min(most), 1e-30)


def _alike(one: float, other: float, ratio: float) -> bool:
    return max(one, other) <= ratio * min(one, other)
