"""Finds the layers of a TFLite model. It does not load, run or change it.

Field numbers follow the TFLite schema, version 3. Edge TPU compiled files keep what stays on the CPU in the same form.
"""

from dataclasses import dataclass
from math import prod

from skerry_host.patch.flatbuffer import Table, root
from skerry_host.patch.tensors import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    Bias,
    Floats,
    Layer,
    Layout,
    Span,
    Weights,
    checked_shape,
    float_grid,
    packed_weights,
)

INT32, UINT8, INT8 = 2, 3, 9
PACKED = {17, 20}  # INT4, UINT4
FLOAT_KINDS = {0: FLOAT32, 1: FLOAT16, 18: BFLOAT16}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A constant or activation of the graph. `at` and `size` are 0 for an activation."""

    kind: int
    shape: tuple[int, ...]
    at: int
    size: int
    scale: Span | None
    zero: int
    axis: int


def is_tflite(data: bytes) -> bool:
    """Whether `data` carries the TFLite file identifier."""
    return data[4:8] == b"TFL3"


def parse_tflite(data: bytes) -> Layout:
    """The layers of the model `data`. Raises `LayoutError`."""
    model = root(data)
    buffers = model.tables(4)
    layers: list[Layer] = []
    floats: dict[int, Floats] = {}
    for graph in model.tables(2):
        tensors = [_tensor(table, buffers) for table in graph.tables(0)]
        layers += _layers(tensors, graph.tables(3))
        floats |= {tensor.at: found for tensor in tensors if (found := _floats(tensor))}
    return Layout(tuple(layers), tuple(floats[at] for at in sorted(floats))).within(len(data))


def _tensor(table: Table, buffers: list[Table]) -> _Tensor:
    number = table.scalar(2, "I")
    at, size = _data(buffers[number]) if number < len(buffers) else (0, 0)
    scale, zero, axis = None, 0, 0
    if quantization := table.table(4):
        start, count = quantization.vector(2, 4)
        scale = Span(start, count) if count else None
        zeros = quantization.integers(3, "q")
        zero = zeros[0] if zeros else 0
        axis = quantization.scalar(6, "i")
    return _Tensor(table.scalar(1, "b"), checked_shape(table.integers(0, "i")), at, size, scale, zero, axis)


def _data(buffer: Table) -> tuple[int, int]:
    start, count = buffer.vector(0, 1)
    # Models above 2 GB keep data after the flatbuffer, by offset and size.
    return (start, count) if count else (buffer.scalar(1, "Q"), buffer.scalar(2, "Q"))


def _layers(tensors: list[_Tensor], operators: list[Table]) -> list[Layer]:
    layers, seen = [], set()
    for operator in operators:
        inputs = [tensors[i] for i in operator.integers(1, "i") if 0 <= i < len(tensors)]
        constants = [tensor for tensor in inputs if tensor.size and tensor.at not in seen]
        seen |= {tensor.at for tensor in constants}
        layers += _joined(inputs, constants)
    return layers


def _joined(inputs: list[_Tensor], constants: list[_Tensor]) -> list[Layer]:
    grids = [tensor for tensor in constants if _is_grid(tensor)]
    biases = [tensor for tensor in constants if tensor.kind == INT32 and tensor.scale and tensor.size % 4 == 0]
    if len(grids) == 1 and len(biases) == 1:
        return [Layer(_weights(grids[0]), _bias(biases[0], inputs[0].scale))]
    alone = [Layer(_weights(tensor), None) for tensor in grids]
    return alone + [Layer(None, _bias(tensor, None)) for tensor in biases]


def _floats(tensor: _Tensor) -> Floats | None:
    kind = FLOAT_KINDS.get(tensor.kind)
    if kind is None or not tensor.size or prod(tensor.shape) * kind[0] != tensor.size:
        return None
    return float_grid(tensor.at, tensor.size, tensor.shape, kind)


def _is_grid(tensor: _Tensor) -> bool:
    """Whether it holds a byte a weight, or two in a byte."""
    count = prod(tensor.shape)
    return (tensor.kind in {UINT8, INT8} and count == tensor.size) or (
        tensor.kind in PACKED and 0 < (count + 1) // 2 == tensor.size
    )


def _weights(tensor: _Tensor) -> Weights:
    if tensor.kind in PACKED:
        return packed_weights(tensor.at, tensor.size, tensor.shape)
    rows = tensor.shape[0] if tensor.shape else 1
    across = len(tensor.shape) > 1 and rows == 1
    if across:
        rows = tensor.size // max(1, tensor.shape[-1])
    return Weights(tensor.at, rows, tensor.size // max(1, rows), across, tensor.zero & 0xFF, tensor.scale)


def _bias(tensor: _Tensor, input_scale: Span | None) -> Bias:
    return Bias(Span(tensor.at, tensor.size // 4), tensor.scale, input_scale)
