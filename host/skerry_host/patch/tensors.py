"""Where the weights, biases, scales and floats of a model lie in its file. Knows no file format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class LayoutError(ValueError):
    """A file that looked like a model does not follow its format; it is then treated as plain bytes."""


@dataclass(frozen=True, slots=True)
class Span:
    """`count` little-endian 32-bit words at byte offset `at`."""

    at: int
    count: int

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.at + 4 * self.count


@dataclass(frozen=True, slots=True)
class Weights:
    """A grid of bytes (rows, cols) at offset `at`; its channels are rows, or columns if `across`.

    `zero` is the byte that means 0. `scale` is where its scales lie. `packed`: a byte holds two weights.
    """

    at: int
    rows: int
    cols: int
    across: bool
    zero: int
    scale: Span | None
    packed: bool = False

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.rows * self.cols


def packed_weights(at: int, size: int, shape: Sequence[int]) -> Weights:
    """Weights two in a byte, as bytes: a step of either is a change that is as common wherever it happens."""
    rows = shape[0] if len(shape) > 1 and shape[0] and size % shape[0] == 0 else 1
    return Weights(at, rows, size // rows, across=False, zero=0, scale=None, packed=True)


@dataclass(frozen=True, slots=True)
class Bias:
    """Accumulator offsets, their scales, and the two scales whose product theirs should be."""

    words: Span
    scale: Span | None
    input_scale: Span | None


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights with the bias that an operator adds to their products; either may stand alone."""

    weights: Weights | None
    bias: Bias | None


@dataclass(frozen=True, slots=True)
class Floats:
    """A grid of floats (rows, cols) at offset `at`, of `width` bytes each, `mantissa` bits of which are the mantissa.

    Its channels are rows, or columns if `across`.
    """

    at: int
    rows: int
    cols: int
    across: bool
    width: int
    mantissa: int

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.rows * self.cols * self.width


MAX_DIMENSIONS = 64
"""Of a tensor, many more than any has: the product of a million sizes would take minutes."""


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A tensor's shape; raises `LayoutError` where it has too many dimensions."""
    if len(shape) > MAX_DIMENSIONS:
        raise LayoutError("a tensor has too many dimensions")
    return tuple(shape)


FLOAT32, FLOAT16, BFLOAT16 = (4, 23), (2, 10), (2, 7)
"""Width in bytes and bits of mantissa."""


def float_grid(at: int, size: int, shape: Sequence[int], kind: tuple[int, int]) -> Floats:
    """A tensor of floats as a grid: a row for each of its first dimension, or a column for each of its last.

    The latter where the first dimension is 1.
    """
    width, mantissa = kind
    count = size // width
    across = len(shape) > 1 and shape[0] == 1
    cols = shape[-1] if across else count // max(1, shape[0]) if len(shape) > 1 else count
    return Floats(at, count // max(1, cols), cols, across, width, mantissa)


@dataclass(frozen=True, slots=True)
class Layout:
    """All layers of a model in the order of its graph, and its tensors of floats in the order of the file."""

    layers: tuple[Layer, ...]
    floats: tuple[Floats, ...] = ()

    def within(self, size: int) -> "Layout":
        """The layout without layers that reach outside a file of `size` bytes or whose weights are none."""
        floats = tuple(grid for grid in self.floats if 0 < grid.size <= size - grid.at)
        layers = tuple(layer for layer in self.layers if _any(layer) and all(end <= size for end in _ends(layer)))
        return Layout(layers, floats)


def _any(layer: Layer) -> bool:
    return layer.weights is None or min(layer.weights.rows, layer.weights.cols) > 0


def _ends(layer: Layer) -> Iterable[int]:
    if layer.weights is not None:
        yield layer.weights.at + layer.weights.size
        spans = [layer.weights.scale]
    else:
        spans = []
    if layer.bias is not None:
        spans += [layer.bias.words, layer.bias.scale, layer.bias.input_scale]
    yield from (span.end for span in spans if span is not None)
