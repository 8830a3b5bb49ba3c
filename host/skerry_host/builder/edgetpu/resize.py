"""An int8 model at another input size: the shapes that its tensors would have. Makes no weights and runs nothing.

Each rule is checked first on the size that the model has: where it does not give the file's own shapes, or weights are
made for one size, the model cannot be had at another one, and the operator that stands against it is named.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from skerry_host.builder.edgetpu.view import Node, View, view

Shape = tuple[int, ...]
Rule = Callable[[Node, "Sizes"], list[Shape]]
_SAME = 0
"""`Padding.SAME` of schema.fbs."""


class FixedSizeError(Exception):
    """The model cannot be had at another size: operator `index` stands against it."""

    def __init__(self, node: Node, why: str) -> None:
        self.index = node.op.index
        super().__init__(f"operator {node.op.index}, {node.op.name}: {why}")


class Sizes:
    """The shapes of a model's tensors at one input size: those that change, and else the file's."""

    def __init__(self, seen: View) -> None:
        self._seen = seen
        self._maps: dict[Shape, Shape] = {}
        self.new: dict[int, Shape] = {}

    def of(self, index: int) -> Shape:
        """The shape of a tensor now."""
        return self.new.get(index, self._seen.graph.tensors[index].shape)

    def change(self, index: int, shape: Shape) -> None:
        """Note another shape of a tensor than the file's."""
        self.new[index] = shape
        if len(shape) == 4:
            self._maps.setdefault(self.base(index)[1:3], shape[1:3])

    def map_like(self, size: Shape) -> Shape:
        """Height and width now of the maps that have this height and width in the file."""
        return self._maps.get(size, size)

    def base(self, index: int) -> Shape:
        """The shape of a tensor in the file."""
        return self._seen.graph.tensors[index].shape


def resize(model: Any, height: int, width: int) -> None:
    """Give a `schema.ModelT` the shapes that it has for an image of this size in pixels; raises `FixedSizeError`."""
    seen = view(model)
    image = image_input(seen)
    assert image is not None
    _follow(seen, Sizes(seen))  # the rules give the file's own shapes, or refuse
    sizes = Sizes(seen)
    batch, _height, _width, depth = seen.graph.tensors[image].shape
    sizes.change(image, (batch, height, width, depth))
    _follow(seen, sizes)
    for index, shape in sizes.new.items():
        tensor = model.subgraphs[0].tensors[index]
        tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None


def image_input(seen: View) -> int | None:
    """The index of the one input that is an image; None where there is none, or several."""
    images = [i for i in seen.graph.inputs if len(seen.graph.tensors[i].shape) == 4]
    return images[0] if len(images) == 1 else None


def _follow(seen: View, sizes: Sizes) -> None:
    """The shapes of all that is computed, operator by operator, noted where they differ from the file's."""
    for node in seen.nodes:
        rule = _kept if node.op.custom else _RULES.get(node.op.name, _alike)
        changed = rule is _scaled or any(t.index in sizes.new for t in node.present())
        shapes = rule(node, sizes) if changed or not sizes.new else [t.shape for t in node.outputs]
        for tensor, shape in zip(node.outputs, shapes, strict=True):
            if min(shape, default=1) < 1:
                raise FixedSizeError(node, f"nothing is left of an input this small ({_text(shape)})")
            if shape != tensor.shape and not sizes.new:
                raise FixedSizeError(
                    node, f"gives {_text(tensor.shape)}, and how it follows from its input is not known"
                )
            if shape != tensor.shape:
                sizes.change(tensor.index, shape)


def _alike(node: Node, sizes: Sizes) -> list[Shape]:
    """What computes value by value: the inputs' shapes, broadcast; a constant grid grows with what it is added to."""
    data = [t for t in node.present() if t.shape and not t.constant_bytes]
    if not data or any(tensor.shape != node.outputs[0].shape for tensor in node.outputs):
        raise FixedSizeError(node, "how its shape follows from its input is not known")
    before = np.broadcast_shapes(*(t.shape for t in data))
    after = np.broadcast_shapes(*(sizes.of(t.index) for t in data))
    grids = [_grown(t.shape, before, after) for t in node.present() if t.constant_bytes and t.shape]
    try:
        return [tuple(np.broadcast_shapes(after, *grids))] * len(node.outputs)
    except ValueError:
        raise FixedSizeError(node, "a constant of its own size stands beside its input") from None


def _kept(node: Node, _sizes: Sizes) -> list[Shape]:
    """A custom operator decodes what a network gives: a list of so many things, whatever the size of the image."""
    return [tensor.shape for tensor in node.outputs]


def _first(node: Node, sizes: Sizes) -> list[Shape]:
    """The first input's shape, whatever the others are."""
    return [sizes.of(node.inputs[0].index)] if node.inputs[0] else []


def _grown(shape: Shape, before: Shape, after: Shape) -> Shape:
    """A constant's shape beside an input that changed: it follows where it was of the same size."""
    ends = zip(reversed(shape), reversed(before), reversed(after), strict=False)
    grown = [new if size == old else size for size, old, new in ends]
    return (*shape[: len(shape) - len(grown)], *reversed(grown))


def _slid(size: int, window: int, stride: int, padding: int) -> int:
    """The output size of a window that slides (TensorFlow, padding SAME and VALID)."""
    return -(-size // stride) if padding == _SAME else (size - window) // stride + 1


def _convolved(node: Node, sizes: Sizes) -> list[Shape]:
    data, weights, options = _data(node), node.inputs[1], node.options
    assert weights is not None
    kernel = weights.shape[1:3]
    reach = [(kernel[axis] - 1) * options.get(f"dilation{letter}Factor", 1) + 1 for axis, letter in enumerate("HW")]
    return [_windows(sizes.of(data), reach, options, node.outputs[0].shape[3])]


def _pooled(node: Node, sizes: Sizes) -> list[Shape]:
    """A pool over all of the image stays one over all."""
    data, options = _data(node), node.options
    window, base, now = [options["filterHeight"], options["filterWidth"]], sizes.base(data), sizes.of(data)
    if tuple(window) == base[1:3]:
        window = list(now[1:3])
    return [_windows(now, window, options, now[3])]


def _windows(shape: Shape, window: Sequence[int], options: dict[str, Any], depth: int) -> Shape:
    strides, padding = (options["strideH"], options["strideW"]), options["padding"]
    rows, columns = (_slid(shape[1 + axis], window[axis], strides[axis], padding) for axis in (0, 1))
    return shape[0], rows, columns, depth


def _upward(node: Node, sizes: Sizes) -> list[Shape]:
    """A transposed convolution: so many strides more, as the input has more."""
    data = node.inputs[2]
    assert data is not None
    base, now, out = data.shape, sizes.of(data.index), node.outputs[0].shape
    strides = node.options["strideH"], node.options["strideW"]
    rows, columns = (out[1 + axis] + (now[1 + axis] - base[1 + axis]) * strides[axis] for axis in (0, 1))
    return [(now[0], rows, columns, out[3])]


def _scaled(node: Node, sizes: Sizes) -> list[Shape]:
    """An image resized to a constant size: by the same factor; a single pixel to the size of the other maps there."""
    base, now, out = sizes.base(_data(node)), sizes.of(_data(node)), node.outputs[0].shape
    if base[1:3] == (1, 1):
        return [(now[0], *sizes.map_like(out[1:3]), now[3])]
    rows, columns = (out[axis] * now[axis] // base[axis] for axis in (1, 2))
    return [(now[0], rows, columns, now[3])]


def _padded(node: Node, sizes: Sizes) -> list[Shape]:
    base, now = sizes.base(_data(node)), sizes.of(_data(node))
    return [tuple(out + n - b for out, n, b in zip(node.outputs[0].shape, now, base, strict=True))]


def _sliced(node: Node, sizes: Sizes) -> list[Shape]:
    """What was cut off stays cut off; of every second value there are half as many."""
    data = _data(node)
    base, now, out = sizes.base(data), sizes.of(data), node.outputs[0].shape
    if len(base) != len(out):
        raise FixedSizeError(node, "it takes away an axis")
    steps = node.constant(3) if node.op.name == "STRIDED_SLICE" else None
    every = [1] * len(base) if steps is None else [abs(int(step)) or 1 for step in steps]
    return [tuple(o + (n - b) // e for o, n, b, e in zip(out, now, base, every, strict=True))]


def _joined(node: Node, sizes: Sizes) -> list[Shape]:
    parts = [sizes.of(t.index) for t in node.present()]
    axis = node.options["axis"] % len(parts[0])
    others = {(*part[:axis], *part[axis + 1 :]) for part in parts}
    if len(others) != 1:
        raise FixedSizeError(node, "its parts would differ in size")
    return [(*parts[0][:axis], sum(part[axis] for part in parts), *parts[0][axis + 1 :])]


def _split(node: Node, sizes: Sizes) -> list[Shape]:
    data = node.inputs[1] if node.op.name == "SPLIT" else node.inputs[0]
    assert data is not None
    base, now = data.shape, sizes.of(data.index)
    whole = [
        n == b or all(t.shape[at] == b for t in node.outputs) for at, (n, b) in enumerate(zip(now, base, strict=True))
    ]
    if not all(whole):
        raise FixedSizeError(node, "it splits an axis of the image")
    return [tuple(n if n != b else o for o, n, b in zip(t.shape, now, base, strict=True)) for t in node.outputs]


def _reduced(node: Node, sizes: Sizes) -> list[Shape]:
    now, axes = sizes.of(_data(node)), node.constant(1)
    if axes is None:
        raise FixedSizeError(node, "its axes are computed")
    gone = {int(axis) % len(now) for axis in axes}
    if node.options.get("keepDims"):
        return [tuple(1 if at in gone else n for at, n in enumerate(now))]
    return [tuple(n for at, n in enumerate(now) if at not in gone)]


def _turned(node: Node, sizes: Sizes) -> list[Shape]:
    now, order = sizes.of(_data(node)), node.constant(1)
    if order is None:
        raise FixedSizeError(node, "its order is computed")
    return [tuple(now[int(axis)] for axis in order)]


def _deepened(node: Node, sizes: Sizes) -> list[Shape]:
    now, block = sizes.of(_data(node)), node.options["blockSize"]
    if now[1] % block or now[2] % block:
        raise FixedSizeError(node, f"the image is no multiple of {block} there")
    return [(now[0], now[1] // block, now[2] // block, now[3] * block**2)]


def _widened(node: Node, sizes: Sizes) -> list[Shape]:
    now, block = sizes.of(_data(node)), node.options["blockSize"]
    return [(now[0], now[1] * block, now[2] * block, now[3] // block**2)]


def _dense(node: Node, sizes: Sizes) -> list[Shape]:
    data, weights = _data(node), node.inputs[1]
    assert weights is not None
    base, now, out = sizes.base(data), sizes.of(data), node.outputs[0].shape
    if prod(now) * prod(out[:-1]) % prod(base) or (now[-1] != base[-1] and prod(now) != prod(base)):
        raise FixedSizeError(node, f"its weights are made for {weights.shape[-1]} inputs, {now[-1]} would come")
    rows = prod(now) * prod(out[:-1]) // prod(base)
    return [out if rows == prod(out[:-1]) else (*now[:-1], out[-1])]


def _reshaped(node: Node, sizes: Sizes) -> list[Shape]:
    """Axes at either end that stayed as they were follow the input; of those between, the one that holds what grows."""
    data = _data(node)
    base, now, out = sizes.base(data), sizes.of(data), node.outputs[0].shape
    head = _equal(base, out)
    tail = min(_equal(base[::-1], out[::-1]), len(base) - head, len(out) - head)
    first, last = now[:head], now[len(now) - tail :]
    middle = list(out[head : len(out) - tail])
    before, after = prod(base[head : len(base) - tail]), prod(now[head : len(now) - tail])
    changed = prod(b for b, n in zip(base[head : len(base) - tail], now[head : len(now) - tail], strict=True) if b != n)
    if before != after:
        fitting = [at for at, size in enumerate(middle) if size % changed == 0 and size * after % before == 0]
        if not fitting:
            raise FixedSizeError(node, f"to {_text(out)} from {_text(base)}: no axis of it holds what changes")
        middle[fitting[0]] = middle[fitting[0]] * after // before
    return [(*first, *middle, *last)]


def _equal(one: Sequence[int], other: Sequence[int]) -> int:
    """How many sizes are equal from the front."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _data(node: Node) -> int:
    data = node.input(0)
    if data is None:
        raise FixedSizeError(node, "it has no input")
    return data.index


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolved),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"), _pooled),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _scaled),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _padded),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _sliced),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX", "ARG_MIN"), _reduced),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshaped),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "PRELU"), _first),
    "TRANSPOSE_CONV": _upward,
    "CONCATENATION": _joined,
    "TRANSPOSE": _turned,
    "SPACE_TO_DEPTH": _deepened,
    "DEPTH_TO_SPACE": _widened,
    "FULLY_CONNECTED": _dense,
}
"""By operator; the others compute value by value, or are refused."""
