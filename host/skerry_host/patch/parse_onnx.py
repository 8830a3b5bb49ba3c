"""Finds the layers of an int8 ONNX model and all floats, by walking its protobuf. It does not load, run or change it.

Weights are inputs of a DequantizeLinear (QDQ) or of an operator on integers (QOperator form, dynamic quantization).
Field numbers follow onnx.proto3. Only tensors in raw_data or float_data count; anything else stays plain bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from skerry_host.patch.tensors import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    Bias,
    Floats,
    Layer,
    Layout,
    LayoutError,
    Span,
    Weights,
    checked_shape,
    float_grid,
    packed_weights,
)

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
PACKED = {21, 22}  # UINT4, INT4
FLOAT_KINDS = {FLOAT: FLOAT32, 10: FLOAT16, 16: BFLOAT16}
_JOINING = {"Conv", "ConvTranspose", "MatMul", "Gemm"}


@dataclass(frozen=True, slots=True)
class _Places:
    """Which inputs of an operator on integers are what; None for what it has not."""

    weights: int
    scale: int | None = None
    zero: int | None = None
    bias: int | None = None
    packed: bool = False  # two weights in a byte, whatever the tensor's type


# Of ONNX, and of ONNX Runtime's own operators (docs/ContribOperators.md there).
_ON_INTEGERS = {
    "QLinearConv": _Places(3, 4, 5, 8),
    "QLinearMatMul": _Places(3, 4, 5),
    "QGemm": _Places(3, 4, 5, 6),
    "MatMulInteger": _Places(1, None, 3),
    "ConvInteger": _Places(1, None, 3),
    "MatMulIntegerToFloat": _Places(1, 3, 5),
    "DynamicQuantizeMatMul": _Places(1, 2, 3),
    "MatMulNBits": _Places(1, packed=True),
    "GatherBlockQuantized": _Places(0, packed=True),
}


@dataclass(slots=True)
class _Constant:
    dims: list[int] = field(default_factory=list)
    kind: int = 0
    name: str = ""
    at: int = 0
    size: int = 0
    first: int = 0  # the first byte of what it holds, of the few kinds that may be a zero point


@dataclass(slots=True)
class _Node:
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    op: str = ""


def is_onnx(data: bytes) -> bool:
    """Whether `data` begins like a serialized ModelProto: ir_version first, then more fields."""
    return (
        len(data) > 16 and data[0] == 0x08 and data[1] < 0x20 and data[2] in {0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42}
    )


def parse_onnx(data: bytes) -> Layout:
    """The layers of the model `data`. Raises `LayoutError`."""
    nodes: list[_Node] = []
    constants: dict[str, _Constant] = {}
    inside: list[_Constant] = []
    for number, start, end in fields(data, 0, len(data)):
        if number == 7:
            for inner, at, stop in fields(data, start, end):
                if inner == 1:
                    nodes.append(_node(data, at, stop))
                    inside += _constants_inside(data, at, stop)
                elif inner == 5:
                    constant = _constant(data, at, stop)
                    constants[constant.name] = constant
    floats = (_floats(constant) for constant in sorted([*constants.values(), *inside], key=lambda one: one.at))
    return Layout(tuple(_layers(nodes, constants)), tuple(filter(None, floats))).within(len(data))


def _layers(nodes: list[_Node], constants: dict[str, _Constant]) -> Iterator[Layer]:
    makers = {name: node for node in nodes for name in node.outputs}
    for node in nodes:
        if places := _ON_INTEGERS.get(node.op):
            yield from _on_integers(places, [constants.get(name) for name in node.inputs])
        if node.op not in _JOINING:
            continue
        sources = [makers.get(name) for name in node.inputs]
        quantized = [maker.inputs if maker and maker.op == "DequantizeLinear" else [] for maker in sources]
        yield from _joined([[constants.get(name) for name in names] for names in quantized])


def _joined(quantized: list[list[_Constant | None]]) -> Iterator[Layer]:
    weights = bias = None
    for place, names in enumerate(quantized):
        if len(names) < 2 or (first := names[0]) is None:
            continue
        if _is_packed(first):
            weights = packed_weights(first.at, first.size, first.dims)
        elif first.kind in {INT8, UINT8} and prod(first.dims) == first.size and first.dims:
            weights = _weights(first, _span(names[1]), 128 if first.kind == UINT8 else 0)
        elif first.kind == INT32 and place == 2:
            source = quantized[0][1] if len(quantized[0]) > 1 else None
            bias = Bias(Span(first.at, first.size // 4), _span(names[1]), _span(source))
    if weights or bias:
        yield Layer(weights, bias)


def _floats(constant: _Constant) -> Floats | None:
    kind = FLOAT_KINDS.get(constant.kind)
    if kind is None or not constant.size or prod(constant.dims) * kind[0] != constant.size:
        return None
    return float_grid(constant.at, constant.size, constant.dims, kind)


def _on_integers(places: _Places, inputs: list[_Constant | None]) -> Iterator[Layer]:
    weights, scale, zero, bias = (
        inputs[place] if place is not None and place < len(inputs) else None
        for place in (places.weights, places.scale, places.zero, places.bias)
    )
    if weights is not None and (_is_packed(weights) or (places.packed and weights.kind == UINT8)):
        yield Layer(packed_weights(weights.at, weights.size, weights.dims), None)
        return
    if weights is None or weights.kind not in {INT8, UINT8} or prod(weights.dims) != weights.size or not weights.dims:
        return
    made = None if bias is None or bias.kind != INT32 else Bias(Span(bias.at, bias.size // 4), None, None)
    # A weight without a zero point is about 0 itself.
    yield Layer(_weights(weights, _span(scale), 0 if zero is None else zero.first), made)


def _is_packed(constant: _Constant) -> bool:
    """Whether it holds two weights in a byte."""
    return constant.kind in PACKED and bool(constant.dims) and 0 < (prod(constant.dims) + 1) // 2 == constant.size


def _weights(constant: _Constant, scale: Span | None, zero: int) -> Weights:
    rows = constant.dims[0]
    # A matrix product keeps output channels last; a convolution keeps them first.
    across = len(constant.dims) == 2 and scale is not None and scale.count == constant.dims[1] != rows
    return Weights(constant.at, rows, constant.size // max(1, rows), across, zero, scale)


def _span(constant: _Constant | None) -> Span | None:
    if constant is None or constant.kind != FLOAT or not constant.size:
        return None
    return Span(constant.at, constant.size // 4)


def _node(data: bytes, start: int, end: int) -> _Node:
    node = _Node()
    for number, at, stop in fields(data, start, end):
        if number in {1, 2}:
            (node.inputs if number == 1 else node.outputs).append(text(data, at, stop))
        elif number == 4:
            node.op = text(data, at, stop)
    return node


def _constants_inside(data: bytes, start: int, end: int) -> Iterator[_Constant]:
    """The tensors in attributes of the node in data[start:end]: some exporters keep weights in Constant nodes."""
    for number, at, stop in fields(data, start, end):
        if number == 5:
            yield from (_constant(data, at, stop) for number, at, stop in fields(data, at, stop) if number == 5)


def _constant(data: bytes, start: int, end: int) -> _Constant:
    made = _Constant()
    for number, at, stop in fields(data, start, end):
        if number == 1:
            made.dims += _dims(data, at, stop)
            checked_shape(made.dims)
        elif number == 2:
            made.kind = varint(data, at)[0]
        elif number == 8:
            made.name = text(data, at, stop)
        elif number in {4, 9}:  # packed float_data has the same bytes as raw_data
            made.at, made.size = at, stop - at
            made.first = data[at] if made.size else 0
        elif number == 5:  # int32_data, which also holds bytes
            made.first = varint(data, at)[0] & 0xFF if stop > at else 0
    return made


def _dims(data: bytes, at: int, stop: int) -> Iterator[int]:
    while at < stop:
        value, at = varint(data, at)
        yield value


def text(data: bytes, at: int, stop: int) -> str:
    """The string in data[at:stop]."""
    return data[at:stop].decode("utf-8", "replace")


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end of its value) of the message in data[at:end]. Raises `LayoutError`."""
    while at < end:
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            stop = varint(data, at)[1]
        elif wire == 2:
            size, at = varint(data, at)
            stop = at + size
        elif wire in {1, 5}:
            stop = at + (8 if wire == 1 else 4)
        else:
            raise LayoutError("an unknown wire type")
        if stop > end:
            raise LayoutError("a field reaches outside its message")
        yield key >> 3, at, stop
        at = stop


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(the integer at a place, where it ends). Raises `LayoutError`."""
    if at < len(data) and data[at] < 0x80:  # nearly all are
        return data[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise LayoutError("an integer reaches outside the file")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise LayoutError("an integer is too long")
