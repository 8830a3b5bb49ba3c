"""Operators that move elements and compute nothing: reshapes, transpositions, parts, joins."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.elementwise import same
from skerry_host.builder.lowering.order import Order, Shape, channels_last, held, plain, reshaped
from skerry_host.builder.lowering.values import Lowering, Node, UnknownFormError, Value

Lower = Callable[[Lowering, Node], None]


def reshape_to(low: Lowering, value: Value, shape: Shape, written: str) -> None:
    """A value in another shape; where it is held in an order that the shape cannot keep, it is moved when needed."""
    if value.constant is not None:
        low.define_constant(written, value.constant.reshape(shape))
        return
    first = low.held_order(value)
    order = reshaped(value.shape, first, shape)
    if order is not None:
        read, sizes = low.tensor(value, first), held(shape, order)
        made = read if sizes == held(value.shape, first) else low.reshape(read, sizes, value.dtype, written)
        low.define(written, made, order, (shape, value.dtype), value.least)
        return

    def make() -> tuple[Order, int]:
        return plain(len(shape)), low.reshape(low.tensor(value), shape, value.dtype, written)

    low.values[written] = Value(written, shape, value.dtype, least=value.least, moved=value, make=make)


def reshape(low: Lowering, node: Node) -> None:
    """Reshape: 0 keeps a size, -1 is what is left."""
    value, asked = low.value(node, 0), low.known(node, 1, "shape")
    sizes = [value.shape[at] if n == 0 and not node.get("allowzero", 0) else n for at, n in enumerate(asked)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(value.shape) // max(1, -prod(sizes))
    reshape_to(low, value, tuple(sizes), node.outputs[0])


def flatten(low: Lowering, node: Node) -> None:
    """Flatten to two axes."""
    value = low.value(node, 0)
    axis = node.get("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    shape = (prod(value.shape[:axis]), prod(value.shape[axis:]))
    reshape_to(low, value, shape, node.outputs[0])


def squeeze(low: Lowering, node: Node) -> None:
    """Squeeze."""
    value = low.value(node, 0)
    axes = low.known(node, 1, "axes", [at for at, size in enumerate(value.shape) if size == 1])
    gone = {axis % value.rank for axis in axes}
    shape = tuple(size for at, size in enumerate(value.shape) if at not in gone)
    reshape_to(low, value, shape, node.outputs[0])


def unsqueeze(low: Lowering, node: Node) -> None:
    """Unsqueeze."""
    value, axes = low.value(node, 0), low.known(node, 1, "axes")
    rank = value.rank + len(axes)
    new = {axis % rank for axis in axes}
    left = iter(value.shape)
    reshape_to(low, value, tuple(1 if at in new else next(left) for at in range(rank)), node.outputs[0])


def transpose(low: Lowering, node: Node) -> None:
    """Transpose: the tensor stays as it is, and is held in another order from here on."""
    value = low.value(node, 0)
    moved = node.get("perm") or list(reversed(range(value.rank)))
    if value.constant is not None:
        low.define_constant(node.outputs[0], value.constant.transpose(moved))
        return
    first = low.held_order(value)
    place = {axis: at for at, axis in enumerate(moved)}
    order = tuple(place.get(axis, axis) for axis in first)
    form = (tuple(value.shape[axis] for axis in moved), value.dtype)
    low.define(node.outputs[0], low.tensor(value, first), order, form, value.least)


def concat(low: Lowering, node: Node) -> None:
    """Concat, in the order of the largest part."""
    values = [low.value(node, at) for at in range(len(node.inputs))]
    rank = values[0].rank
    axis = node.get("axis") % rank
    values = [value for value in values if value.shape[axis]]
    if len(values) == 1:
        low.rename(node.outputs[0], values[0])
        return
    computed = [value for value in values if value.constant is None]
    largest = max(computed, key=lambda value: (prod(value.shape), low.held_order(value) != plain(rank)), default=None)
    order = plain(rank) if largest is None else low.held_order(largest)
    shape = tuple(sum(v.shape[at] for v in values) if at == axis else n for at, n in enumerate(values[0].shape))
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(axis)
    reads = [low.tensor(value, order) for value in values]
    made = low.emit("CONCATENATION", reads, (held(shape, order), values[0].dtype), node.outputs[0], options)
    low.define(node.outputs[0], made, order, (shape, values[0].dtype), min(value.least for value in values))


def part(low: Lowering, value: Value, begin: Sequence[int], sizes: Sequence[int], written: str) -> Value:
    """A block of a value."""
    if tuple(sizes) == value.shape:
        low.rename(written, value)
        return value
    if value.constant is not None:
        block = tuple(slice(b, b + n) for b, n in zip(begin, sizes, strict=True))
        low.define_constant(written, value.constant[block])
        return low.values[written]
    order = low.held_order(value)
    starts = low.numbers([0 if axis < 0 else begin[axis] for axis in order])
    lengths = low.numbers(held(sizes, order))
    reads = [low.tensor(value, order), starts, lengths]
    made = low.emit("SLICE", reads, (held(sizes, order), value.dtype), written)
    return low.define(written, made, order, (tuple(sizes), value.dtype), value.least)


def split(low: Lowering, node: Node) -> None:
    """Split: SPLIT into equal parts, else a SLICE for each."""
    value = low.value(node, 0)
    axis = node.get("axis", 0) % value.rank
    count = len(node.outputs)
    size = -(-value.shape[axis] // count)
    even = [min(size, value.shape[axis] - at * size) for at in range(count)]
    lengths = low.known(node, 1, "split", even)
    if len(set(lengths)) > 1 or value.constant is not None:
        begin = [0] * value.rank
        for name, length in zip(node.outputs, lengths, strict=True):
            part(low, value, begin, [length if at == axis else n for at, n in enumerate(value.shape)], name)
            begin[axis] += length
        return
    order = low.held_order(value)
    shape = tuple(lengths[0] if at == axis else n for at, n in enumerate(value.shape))
    options = schema.SplitOptionsT()
    options.numSplits = count
    made = [low.writer.tensor(name, held(shape, order), value.dtype) for name in node.outputs]
    low.writer.operator("SPLIT", [low.numbers([order.index(axis)]), low.tensor(value, order)], made, options)
    for name, tensor in zip(node.outputs, made, strict=True):
        low.define(name, tensor, order, (shape, value.dtype), value.least)


def slice_(low: Lowering, node: Node) -> None:
    """Slice: a SLICE, or a GATHER where it steps."""
    value = low.value(node, 0)
    starts, ends = low.known(node, 1, "starts"), low.known(node, 2, "ends")
    axes = low.known(node, 3, "axes", list(range(len(starts))))
    steps = low.known(node, 4, "", [1] * len(starts))
    begin, sizes, picked = [0] * value.rank, list(value.shape), {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen = range(value.shape[axis])[start:end:step]
        begin[axis], sizes[axis] = chosen.start if len(chosen) else 0, len(chosen)
        if step != 1 and len(chosen):
            picked[axis % value.rank] = list(chosen)
            begin[axis], sizes[axis] = 0, value.shape[axis]
    if 0 in sizes:
        raise UnknownFormError("Slice of nothing")
    found = part(low, value, begin, sizes, f"{node.outputs[0]}/part" if picked else node.outputs[0])
    for axis, indices in picked.items():
        found = take(low, found, axis, indices, node.outputs[0])


def take(low: Lowering, value: Value, axis: int, indices: Sequence[int], written: str) -> Value:
    """Some of the places along an axis."""
    if value.constant is not None:
        low.define_constant(written, value.constant.take(indices, axis))
        return low.values[written]
    order = low.held_order(value)
    shape = tuple(len(indices) if at == axis else n for at, n in enumerate(value.shape))
    options = schema.GatherOptionsT()
    options.axis = order.index(axis)
    reads = [low.tensor(value, order), low.numbers(indices)]
    made = low.emit("GATHER", reads, (held(shape, order), value.dtype), written, options)
    return low.define(written, made, order, (shape, value.dtype), value.least)


def gather(low: Lowering, node: Node) -> None:
    """Gather at known places (a block of them is a SLICE), or of a table by computed ones."""
    value, where, written = low.value(node, 0), low.value(node, 1), node.outputs[0]
    axis = node.get("axis", 0) % value.rank
    shape = (*value.shape[:axis], *where.shape, *value.shape[axis + 1 :])
    if where.constant is None:
        options = schema.GatherOptionsT()
        options.axis = axis
        made = low.emit("GATHER", [low.tensor(value), low.tensor(where)], (shape, value.dtype), written, options)
        low.define(written, made, plain(len(shape)), (shape, value.dtype), value.least)
        return
    indices = [int(i) % value.shape[axis] for i in where.constant.ravel()]
    block = indices == list(range(indices[0], indices[0] + len(indices))) if indices else False
    name = written if len(where.shape) == 1 else f"{written}/taken"
    if block:
        begin = [indices[0] if at == axis else 0 for at in range(value.rank)]
        found = part(low, value, begin, [len(indices) if at == axis else n for at, n in enumerate(value.shape)], name)
    else:
        found = take(low, value, axis, indices, name)
    if len(where.shape) != 1:
        reshape_to(low, found, shape, written)


def expand(low: Lowering, node: Node) -> None:
    """Expand: made only for those that do not spread by themselves."""
    value, asked = low.value(node, 0), low.known(node, 1)
    shape = tuple(np.broadcast_shapes(value.shape, tuple(asked)))
    if shape == value.shape:
        same(low, node)
        return

    def make() -> tuple[Order, int]:
        wide = Value(value.name, (1,) * (len(shape) - value.rank) + value.shape, value.dtype)
        read = (
            low.reshape(low.tensor(value), wide.shape, value.dtype, value.name) if wide.shape != value.shape else None
        )
        reads = [low.tensor(value) if read is None else read, low.numbers(shape)]
        return plain(len(shape)), low.emit("BROADCAST_TO", reads, (shape, value.dtype), node.outputs[0])

    made = Value(node.outputs[0], shape, value.dtype, least=value.least, narrow=value, make=make)
    low.values[node.outputs[0]] = made


def tile(low: Lowering, node: Node) -> None:
    """Tile."""
    value, times = low.value(node, 0), low.known(node, 1)
    order = low.held_order(value)
    shape = tuple(size * count for size, count in zip(value.shape, times, strict=True))
    reads = [low.tensor(value, order), low.numbers(held(times, order))]
    made = low.emit("TILE", reads, (held(shape, order), value.dtype), node.outputs[0])
    low.define(node.outputs[0], made, order, (shape, value.dtype), value.least)


def depth_to_space(low: Lowering, node: Node) -> None:
    """DepthToSpace: TFLite's own for DCR, for CRD (PixelShuffle) with the channels moved before."""
    value, size = low.value(node, 0), node.get("blocksize")
    count, channels, height, width = value.shape
    inner = channels // size**2
    if node.text("mode", "DCR") == "CRD":
        sequence = np.arange(channels).reshape(inner, size**2).T.ravel()
        if inner > 1:
            value = take(low, value, 1, sequence.tolist(), f"{node.outputs[0]}/channels")
    shape = (count, inner, height * size, width * size)
    _pixels(low, value, "DEPTH_TO_SPACE", schema.DepthToSpaceOptionsT(), (size, shape, node.outputs[0]))


def space_to_depth(low: Lowering, node: Node) -> None:
    """SpaceToDepth."""
    value, size = low.value(node, 0), node.get("blocksize")
    count, channels, height, width = value.shape
    shape = (count, channels * size**2, height // size, width // size)
    _pixels(low, value, "SPACE_TO_DEPTH", schema.SpaceToDepthOptionsT(), (size, shape, node.outputs[0]))


def _pixels(low: Lowering, value: Value, kind: str, options: Any, made: tuple[int, Shape, str]) -> None:
    size, shape, written = made
    order = channels_last(4)
    options.blockSize = size
    tensor = low.emit(kind, [low.tensor(value, order)], (held(shape, order), value.dtype), written, options)
    low.define(written, tensor, order, (shape, value.dtype), value.least)


OPERATORS: dict[str, Lower] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
