"""Second moments of what layers multiply by their weights: sums of x x^T over samples, for rounding them together.

Takes the float model's activations (on the steps of a quantized layer's input the sums are the same but for 0.3 dB),
and of a map only some places, spread evenly. Every other sample has sums of its own, so that what is chosen by one half
can be judged by the other. Bounded: `SAMPLES` samples, at most `ROWS` rows of a layer, layers with at most `WIDEST`
inputs, and `MOST_VALUES` of all sums together, the smallest layers first. Rounds nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.data.samples import TURN
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.inputs import Runs
from skerry_host.builder.quantize.weights import WeightedLayer, weighted

SAMPLES = 64
ROWS = 2048
ROWS_AN_INPUT, FEWEST_ROWS = 8, 256
AT_ONCE = 512
"""Rows that are multiplied at once: adding up after each sample would take most of the time."""
WIDEST = 2048
MOST_VALUES = 2**25
"""256 MB of float64, which a search keeps."""
HALVES = 2


@dataclass(slots=True)
class Fed:
    """One layer whose weights are to be rounded, and the sums over its inputs (groups, width, width) of two halves.

    `source` is the layer in the float model; `shape` is that of the weights, `channels` are the input's. `rounded` has
    what was made of them before, by the scales: a search quantizes the same weights again and again.
    """

    source: WeightedLayer
    shape: tuple[int, ...]
    channels: int
    sums: list[Array] = field(default_factory=list)
    waiting: tuple[list[Array], list[Array]] = field(default_factory=lambda: ([], []))
    rounded: dict[bytes, Array | None] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        """How many parts of the input are multiplied by weights of their own: each channel of a depthwise layer."""
        if self.source.kind == "FULLY_CONNECTED":
            return 1
        return self.channels if self.source.kind == "DEPTHWISE_CONV_2D" else self.channels // self.shape[3]

    @property
    def width(self) -> int:
        """How many inputs one output is the sum of."""
        if self.source.kind == "DEPTHWISE_CONV_2D":
            return self.shape[1] * self.shape[2]
        return int(np.prod(self.shape[1:]))

    @property
    def values(self) -> int:
        """How many numbers its sums are."""
        return HALVES * self.groups * self.width**2

    def add(self, activation: Array, sample: int, samples: int) -> None:
        """Add some rows of one of so many samples."""
        wanted = min(ROWS, max(FEWEST_ROWS, ROWS_AN_INPUT * self.width))
        rows = self._rows(activation, max(1, wanted // samples), sample * TURN % 1)
        waiting = self.waiting[sample % HALVES]
        waiting.append(rows)
        if sum(part.shape[1] for part in waiting) >= AT_ONCE:
            self.sum_up()

    def sum_up(self) -> None:
        """Put the rows that wait into the sums."""
        self.sums = self.sums or [np.zeros((self.groups, self.width, self.width)) for _ in range(HALVES)]
        for half, waiting in enumerate(self.waiting):
            if waiting:
                rows = np.concatenate(waiting, axis=1).astype(np.float64)
                self.sums[half] += np.matmul(rows.transpose(0, 2, 1), rows)
                waiting.clear()

    def _rows(self, real: Array, count: int, turn: float) -> Array:
        """(groups, rows, width), in the order of `by_group`."""
        if self.source.kind == "FULLY_CONNECTED":
            flat = real.reshape(1, -1, self.width)
            return flat[:, places(flat.shape[1], count, turn)]
        found = patches(real, self.source.options, self.shape[1:3], count, turn)
        rows, high, wide, channels = found.shape
        parts = found.reshape(rows, high, wide, self.groups, channels // self.groups)
        grouped: Array = parts.transpose(3, 0, 1, 2, 4).reshape(self.groups, rows, self.width)
        return grouped


def by_group(weights: Array, fed: Fed) -> Array:
    """Weights in the layout of the sums: (groups, outputs of a group, width)."""
    if fed.source.kind == "DEPTHWISE_CONV_2D":
        flat: Array = weights.reshape(fed.width, fed.groups, -1).transpose(1, 2, 0)
        return flat
    grouped: Array = weights.reshape(fed.groups, -1, fed.width)
    return grouped


def from_groups(grouped: Array, fed: Fed) -> Array:
    """The reverse of `by_group`."""
    if fed.source.kind == "DEPTHWISE_CONV_2D":
        return grouped.transpose(2, 0, 1).reshape(fed.shape)
    return grouped.reshape(fed.shape)


def patches(real: Array, options: Any, kernel: Sequence[int], count: int, turn: float) -> Array:
    """What a convolution multiplies in at most `count` of its places: (places, height, width, channels)."""
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    padded, sizes = _padded(real, options, kernel)
    found = places(len(real) * sizes[0] * sizes[1], count, turn)
    sample, row, column = np.unravel_index(found, (len(real), *sizes))
    rows = row[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
    columns = column[:, None] * strides[1] + np.arange(kernel[1]) * dilations[1]
    taken: Array = padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken


def _padded(real: Array, options: Any, kernel: Sequence[int]) -> tuple[Array, tuple[int, int]]:
    """A map with its padding, and the height and width of what a convolution makes of it."""
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    pads, sizes = [], []
    for axis, (taps, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True), 1):
        reach, there = (taps - 1) * dilation + 1, real.shape[axis]
        size = -(-there // stride) if options.padding == schema.Padding.SAME else (there - reach) // stride + 1
        more = max((size - 1) * stride + reach - there, 0)
        pads.append((more // 2, more - more // 2))
        sizes.append(size)
    return np.pad(real, [(0, 0), *pads, (0, 0)]), (sizes[0], sizes[1])


def places(total: int, count: int, turn: float) -> Array:
    """At most `count` of so many places, evenly; `turn` (0 to 1) moves them on."""
    if total <= count:
        return np.arange(total)
    return ((np.arange(count) + turn) * total / count).astype(np.int64)


@lru_cache(maxsize=1)
def moments(runs: Runs) -> Mapping[int, Fed]:
    """Of each layer with weights that is small enough, by its position in the float model; summed up in one pass."""
    chosen = list(_small(_layers(read_model(runs.source.data))))
    if not chosen:
        return {}
    some = runs.first(SAMPLES)
    for at, value_of in enumerate(some.activations("measuring what weights multiply")):
        for fed in chosen:
            fed.add(value_of(fed.source.input), at, len(some.inputs))
    for fed in chosen:
        fed.sum_up()
    return {fed.source.position: fed for fed in chosen}


def _layers(model: Any) -> list[Fed]:
    tensors, found = model.subgraphs[0].tensors, []
    for layer in weighted(model):
        if tensors[layer.weight].type == schema.TensorType.FLOAT32:
            shape = tuple(int(size) for size in tensors[layer.weight].shape)
            found.append(Fed(layer, shape, int(tensors[layer.input].shape[-1])))
    return found


def _small(layers: Sequence[Fed]) -> Iterable[Fed]:
    """Those whose sums fit into the memory that is allowed for them."""
    left = MOST_VALUES
    for fed in sorted((fed for fed in layers if fed.width <= WIDEST), key=lambda fed: fed.values):
        left -= fed.values
        if left < 0:
            return
        yield fed
