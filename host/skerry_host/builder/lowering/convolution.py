"""Convolutions, forward and transposed, of one, two and three dimensions: pixels inside, weights constant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.lowering.order import UNIT, Order, channels_last, held
from skerry_host.builder.lowering.padding import pad_value
from skerry_host.builder.lowering.shaping import part
from skerry_host.builder.lowering.values import Array, Lowering, Node, UnknownFormError, Value

_SAME, _VALID = schema.Padding.SAME, schema.Padding.VALID
FLAT: Order = (0, UNIT, 2, 1)
"""A sequence (N, C, T) as pixels of height 1."""
MANY_GROUPS = 32
"""Above so many, groups stay one operator; below they are convolutions of their own, which every device knows."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel goes over space: for each axis its size, stride, dilation, and what is added before and after."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """How much a dilated kernel covers."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def size(self, space: Sequence[int]) -> tuple[int, ...]:
        """The result's size in space."""
        parts = zip(space, self.before, self.after, self.span, self.stride, strict=True)
        return tuple((n + b + a - span) // s + 1 for n, b, a, span, s in parts)

    def same(self, space: Sequence[int]) -> bool:
        """Whether TFLite's padding SAME adds just this."""
        wanted = []
        for n, span, stride in zip(space, self.span, self.stride, strict=True):
            total = max((-(-n // stride) - 1) * stride + span - n, 0)
            wanted.append((total // 2, total - total // 2))
        return wanted == list(zip(self.before, self.after, strict=True))


def window(node: Node, kernel: Sequence[int], space: Sequence[int]) -> Window:
    """The window that an operator's attributes ask for."""
    rank = len(kernel)
    stride, dilation = (tuple(node.get(name) or [1] * rank) for name in ("strides", "dilations"))
    auto = node.text("auto_pad", "NOTSET")
    pads = list(node.get("pads") or [0] * 2 * rank)
    if auto.startswith("SAME"):
        pads = [0] * 2 * rank
        for at in range(rank):
            span = (kernel[at] - 1) * dilation[at] + 1
            total = max((-(-space[at] // stride[at]) - 1) * stride[at] + span - space[at], 0)
            less = total // 2
            pads[at], pads[at + rank] = (less, total - less) if auto == "SAME_UPPER" else (total - less, less)
    return Window(tuple(kernel), stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]))


def padded(low: Lowering, value: Value, seen: Window, written: str, how: tuple[str, float]) -> tuple[Value, int]:
    """The value with what the window adds, and the padding that is left to the operator."""
    if not any((*seen.before, *seen.after)):
        return value, _VALID
    if seen.same(value.shape[2:]):
        return value, _SAME
    widths = ((0, 0, *seen.before), (0, 0, *seen.after))
    return pad_value(low, value, widths, f"{written}/padded", how), _VALID


def conv(low: Lowering, node: Node) -> None:
    """Conv."""
    value, weights, bias = low.value(node, 0), low.value(node, 1), low.optional(node, 2)
    if weights.constant is None or (bias is not None and bias.constant is None):
        raise UnknownFormError("Conv whose weights are computed")
    filters = weights.constant
    groups = node.get("group", 1)
    seen = window(node, filters.shape[2:], value.shape[2:])
    values = np.zeros(filters.shape[0], np.float32) if bias is None or bias.constant is None else bias.constant
    if value.rank == 5:
        conv3d(low, value, (filters, values), (seen, groups, node.outputs[0]))
        return
    if value.rank not in {3, 4}:
        raise UnknownFormError(f"Conv over {value.rank - 2} dimensions")
    source, padding = padded(low, value, seen, node.outputs[0], ("constant", 0.0))
    depthwise = groups > 1 and filters.shape[1] == 1 and groups == value.shape[1]
    if groups > 1 and not depthwise and groups <= MANY_GROUPS:
        _grouped(low, source, (filters, values), (seen, padding, groups), node.outputs[0])
        return
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    _conv2d(low, source, (kind, filters, values), (seen, padding), node.outputs[0])


def flat(rank: int) -> Order:
    """The order of pixels, for a sequence those of height 1."""
    return FLAT if rank == 3 else channels_last(4)


def _conv2d(
    low: Lowering, value: Value, made_of: tuple[str, Array, Array], how: tuple[Window, int], written: str
) -> Value:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    kind, filters, bias = made_of
    seen, padding = how
    four = filters[:, :, None, :] if value.rank == 3 else filters
    depthwise = kind == "DEPTHWISE_CONV_2D"
    moved = four.transpose(1, 2, 3, 0) if depthwise else four.transpose(0, 2, 3, 1)
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.strideH, options.strideW = (1, *seen.stride)[-2:]
    options.dilationHFactor, options.dilationWFactor = (1, *seen.dilation)[-2:]
    options.padding = padding
    if depthwise:
        options.depthMultiplier = filters.shape[0] // value.shape[1]
    order = flat(value.rank)
    whole = (
        seen if padding == _SAME else Window(seen.kernel, seen.stride, seen.dilation, *((0,) * len(seen.kernel),) * 2)
    )
    shape = (value.shape[0], filters.shape[0], *whole.size(value.shape[2:]))
    reads = [
        low.tensor(value, order),
        low.writer.constant(f"{written}/weights", moved),
        low.writer.constant(f"{written}/bias", bias),
    ]
    tensor = low.emit(kind, reads, (held(shape, order), value.dtype), written, options)
    return low.define(written, tensor, order, (shape, value.dtype))


def _grouped(
    low: Lowering, value: Value, weights: tuple[Array, Array], how: tuple[Window, int, int], written: str
) -> None:
    """A convolution for each group, and their concatenation."""
    (filters, bias), (seen, padding, groups) = weights, how
    ins, outs = filters.shape[1], filters.shape[0] // groups
    found = []
    for at in range(groups):
        begin, sizes = [0] * value.rank, list(value.shape)
        begin[1], sizes[1] = at * ins, ins
        name = f"{written}/group{at}"
        own = part(low, value, begin, sizes, f"{name}/part")
        mine = slice(at * outs, (at + 1) * outs)
        found.append(_conv2d(low, own, ("CONV_2D", filters[mine], bias[mine]), (seen, padding), name))
    order, shape = flat(value.rank), list(found[0].shape)
    shape[1] = filters.shape[0]
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(1)
    reads = [low.tensor(value, order) for value in found]
    tensor = low.emit("CONCATENATION", reads, (held(shape, order), value.dtype), written, options)
    low.define(written, tensor, order, (tuple(shape), value.dtype))


def conv3d(low: Lowering, value: Value, weights: tuple[Array, Array], how: tuple[Window, int, str]) -> None:
    """CONV_3D."""
    (filters, bias), (seen, groups, written) = weights, how
    if groups != 1:
        raise UnknownFormError("Conv over three dimensions in groups")
    source, padding = padded(low, value, seen, written, ("constant", 0.0))
    options, order = schema.Conv3DOptionsT(), channels_last(5)
    options.padding = padding
    options.strideD, options.strideH, options.strideW = seen.stride
    options.dilationDFactor, options.dilationHFactor, options.dilationWFactor = seen.dilation
    shape = (value.shape[0], filters.shape[0], *seen.size(value.shape[2:]))
    reads = [
        low.tensor(source, order),
        low.writer.constant(f"{written}/weights", filters.transpose(2, 3, 4, 1, 0)),
        low.writer.constant(f"{written}/bias", bias),
    ]
    tensor = low.emit("CONV_3D", reads, (held(shape, order), value.dtype), written, options)
    low.define(written, tensor, order, (shape, value.dtype))


def conv_transpose(low: Lowering, node: Node) -> None:
    """ConvTranspose: TRANSPOSE_CONV over all that it reaches, and the part that is asked for."""
    value, weights, bias = low.value(node, 0), low.value(node, 1), low.optional(node, 2)
    if weights.constant is None or value.rank not in {3, 4}:
        raise UnknownFormError("ConvTranspose whose weights are computed, or over three dimensions")
    written = node.outputs[0]
    filters = _whole(weights.constant, node.get("group", 1), node.get("dilations"))
    stride = tuple(node.get("strides") or [1] * (value.rank - 2))
    begin, size = _asked(node, _reached(value, filters, stride))
    if any(b + n > r for b, n, r in zip(begin, size, _reached(value, filters, stride), strict=True)):
        more = (0, 0, *(1 for _n in size))  # output padding beyond the kernel's reach: one more element, of zero
        value = pad_value(low, value, ([0] * value.rank, more), f"{written}/more", ("constant", 0.0))
    reached, order = _reached(value, filters, stride), flat(value.rank)
    shape = (value.shape[0], filters.shape[1], *size)
    same = _same_transposed(value.shape[2:], filters.shape[2:], stride, (begin, size))
    made = shape if same else (*shape[:2], *reached)
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = (1, *stride)[-2:]
    options.padding = _SAME if same else _VALID
    four = filters[:, :, None, :] if value.rank == 3 else filters
    whole = not (same or made == shape)
    tensor = low.emit(
        "TRANSPOSE_CONV",
        [
            low.numbers(held(made, order)),
            low.writer.constant(f"{written}/weights", four.transpose(1, 2, 3, 0)),
            low.tensor(value, order),
            *([] if bias is None or bias.constant is None else [low.writer.constant(f"{written}/bias", bias.constant)]),
        ],
        (held(made, order), value.dtype),
        f"{written}/whole" if whole else written,
        options,
    )
    found = low.define(f"{written}/whole" if whole else written, tensor, order, (made, value.dtype))
    if whole:
        part(low, found, (0, 0, *begin), shape, written)


def _reached(value: Value, filters: Array, stride: Sequence[int]) -> tuple[int, ...]:
    """The size of all that a transposed convolution writes."""
    return tuple((n - 1) * s + k for n, s, k in zip(value.shape[2:], stride, filters.shape[2:], strict=True))


def _same_transposed(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], asked: tuple[Sequence[int], Sequence[int]]
) -> bool:
    """Whether TFLite's padding SAME cuts out just what is asked for."""
    parts = zip(space, kernel, stride, *asked, strict=True)
    return all(k >= s and begin == (k - s) // 2 and size == n * s for n, k, s, begin, size in parts)


def _asked(node: Node, reached: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the result begins in all that is reached, and its size."""
    rank = len(reached)
    if node.get("output_shape") or node.text("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        raise UnknownFormError("ConvTranspose by output_shape or auto_pad")
    pads, extra = node.get("pads") or [0] * 2 * rank, node.get("output_padding") or [0] * rank
    begin = tuple(pads[:rank])
    return begin, tuple(r - b - a + e for r, b, a, e in zip(reached, begin, pads[rank:], extra, strict=True))


def _whole(filters: Array, groups: int, dilation: Sequence[int] | None) -> Array:
    """Filters (in, out, ...) of one group: zeros between groups, and where a dilated kernel has holes."""
    ins, outs = filters.shape[:2]
    if groups > 1:
        whole = np.zeros((ins, outs * groups, *filters.shape[2:]), np.float32)
        for at in range(groups):
            rows = slice(at * ins // groups, (at + 1) * ins // groups)
            whole[rows, at * outs : (at + 1) * outs] = filters[rows]
        filters = whole
    if dilation and max(dilation) > 1:
        spans = [(k - 1) * d + 1 for k, d in zip(filters.shape[2:], dilation, strict=True)]
        wide = np.zeros((*filters.shape[:2], *spans), np.float32)
        wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = filters
        filters = wide
    return filters


OPERATORS: dict[str, Callable[[Lowering, Node], None]] = {"Conv": conv, "ConvTranspose": conv_transpose}
