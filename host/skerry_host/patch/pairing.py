"""Pairs each layer of the new model with the old layer that predicts it best: by content, then by cost and order.

Never by name. It estimates with a sample and changes nothing.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skerry_host.patch.tensors import Layer, Layout, Weights

NEAREST = 6  # candidates of equal shape that are tried, nearest in the graph first
SAMPLE_ROWS = 48

Values = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Pair:
    """A new layer, the old layer that it continues (or none) and whether the old grid is read transposed.

    The old grid, as it is read, has the columns of the new one, or else the same bytes in another shape.
    """

    new: Layer
    old: Layer | None
    transposed: bool = False


def grid_of(data: bytes, weights: Weights) -> NDArray[np.uint8]:
    """The bytes of `weights` as (rows, cols)."""
    flat = np.frombuffer(data, np.uint8, weights.size, weights.at)
    return flat.reshape(weights.rows, weights.cols)


def values_of(grid: NDArray[np.uint8], zero: int) -> Values:
    """Signed values about the byte `zero`, as the decoder sees them."""
    return (grid - np.uint8(zero)).view(np.int8).astype(np.int32)


def spread_bits(values: NDArray[np.signedinteger]) -> float:
    """About how many bits rows of `values` cost: each row a Laplacian of its own width."""
    # In int8 the absolute value of -128 is -128.
    width = np.abs(values, dtype=np.int32).mean(axis=1) + 0.05
    return float(values.shape[1] * np.log2(1 + 2 * np.e * width).sum())


def pair_layers(old: bytes, new: bytes, old_layout: Layout, new_layout: Layout) -> list[Pair]:
    """A pair for every layer of `new_layout`, in order."""
    finder = _Finder(old, new, old_layout)
    return [finder.pair(layer, place) for place, layer in enumerate(new_layout.layers)]


class _Finder:
    def __init__(self, old: bytes, new: bytes, layout: Layout) -> None:
        self._old, self._new = old, new
        self._layers = layout.layers
        self._by_content: dict[bytes, list[int]] = defaultdict(list)
        self._by_shape: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for place, layer in enumerate(layout.layers):
            if layer.weights is not None:
                self._by_content[_digest(old, layer.weights)].append(place)
            self._by_shape[_shape(layer)].append(place)

    def pair(self, layer: Layer, place: int) -> Pair:
        """The best pair for `layer`, the new one at `place`."""
        if layer.weights is None:
            near = _nearest(self._by_shape[_shape(layer)], place)
            return Pair(layer, self._layers[near[0]] if near else None)
        if same := _nearest(self._by_content[_digest(self._new, layer.weights)], place):
            alike = [other for other in same if _shape(self._layers[other]) == _shape(layer)]
            return Pair(layer, self._layers[(alike or same)[0]])
        return self._by_cost(layer, layer.weights, place)

    def _by_cost(self, layer: Layer, weights: Weights, place: int) -> Pair:
        candidates = [(i, False) for i in _nearest(self._by_shape[_shape(layer)], place)[:NEAREST]]
        if not candidates:
            candidates = self._related(weights)
        if not candidates:
            return Pair(layer, None)
        best, transposed = min(candidates, key=lambda candidate: self._cost(weights, *candidate))
        return Pair(layer, self._layers[best], transposed)

    def _related(self, weights: Weights) -> list[tuple[int, bool]]:
        found = []
        for place, layer in enumerate(self._layers):
            if layer.weights is None:
                continue
            if (layer.weights.cols, layer.weights.rows) == (weights.rows, weights.cols):
                found.append((place, True))
            elif layer.weights.cols == weights.cols:
                found.append((place, False))
        return found

    def _cost(self, weights: Weights, place: int, transposed: bool) -> float:
        other = self._layers[place].weights
        assert other is not None
        before = grid_of(self._old, other)
        before = before.T if transposed else before
        rows = min(len(before), weights.rows)
        picked = np.linspace(0, rows - 1, min(rows, SAMPLE_ROWS)).astype(int)
        after = grid_of(self._new, weights)[picked]
        return spread_bits((after - before[picked]).view(np.int8)) / len(picked)


def _nearest(places: list[int], place: int) -> list[int]:
    return sorted(places, key=lambda other: abs(other - place))


def _digest(data: bytes, weights: Weights) -> bytes:
    return hashlib.blake2b(memoryview(data)[weights.at : weights.at + weights.size], digest_size=16).digest()


def _shape(layer: Layer) -> tuple[object, ...]:
    if layer.weights is None:
        return ("bias", layer.bias.words.count if layer.bias else 0)
    return (layer.weights.rows, layer.weights.cols, layer.weights.across)
