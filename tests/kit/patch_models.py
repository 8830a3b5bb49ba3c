"""Small models made from numbers: TFLite through the schema's own builder, ONNX by hand. They need not run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.patch import Patch, create

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[3] / "shared" / "models"))
INT8, UINT8, INT32, FLOAT32 = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT32, 0)

FLOAT_TYPES = {"float32": 0, "float16": 1, "uint16": 18}


@dataclass(frozen=True)
class Made:
    """One layer: weights (rows, cols) int8, a scale a row, a bias, the scale of its input."""

    weights: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    input_scale: float
    shares: bool = False  # use the first layer's weight buffer

    @property
    def bias_scales(self) -> np.ndarray:
        return (self.scales.astype(np.float64) * np.float32(self.input_scale)).astype(np.float32)


@dataclass(frozen=True)
class Net:
    layers: tuple[Made, ...]
    note: bytes = b"note"
    floats: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def patch_of(old: bytes, new: bytes) -> Patch:
    """The patch of a pair none of whose candidates failed: a fallback must not hide a bug."""
    patch = create(old, new)
    assert patch.failed == ()
    return patch


def layer(rng: np.random.Generator, rows: int, cols: int) -> Made:
    weights = np.clip(np.rint(rng.laplace(0, 20, (rows, cols))), -127, 127).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, rows).astype(np.float32)
    return Made(weights, scales, rng.integers(-5000, 5000, rows).astype(np.int32), float(rng.uniform(0.01, 0.1)))


def tuned(rng: np.random.Generator, made: Made, strength: float) -> Made:
    """Return `made` after a little training: most integers move by a step or so, scales and bias move too."""
    noise = rng.laplace(0, strength, made.weights.shape) * rng.uniform(0.2, 2, (len(made.weights), 1))
    weights = np.clip(np.rint(made.weights + noise), -127, 127).astype(np.int8)
    scales = (made.scales * rng.uniform(0.97, 1.03, len(made.scales))).astype(np.float32)
    bias = made.bias + rng.integers(-30, 30, len(made.bias)).astype(np.int32)
    return replace(made, weights=weights, scales=scales, bias=bias, input_scale=made.input_scale * 1.01)


def pruned(made: Made, share: float) -> Made:
    """Return `made` with the smallest magnitudes of all its weights set to 0."""
    size = np.abs(made.weights.astype(np.int16))
    return replace(made, weights=np.where(size < np.quantile(size, share), 0, made.weights).astype(np.int8))


def tflite(net: Net) -> bytes:
    model = schema.ModelT()
    model.version, model.description = 3, net.note
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [schema.OperatorCodeT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    shared = 0
    for made in net.layers:
        source = _tensor(graph, [1, made.weights.shape[1]], INT8, 0, [made.input_scale])
        shared = shared if made.shares and shared else _buffer(model, made.weights.tobytes())
        weights = _tensor(graph, list(made.weights.shape), INT8, shared, made.scales)
        bias = _tensor(graph, [len(made.bias)], INT32, _buffer(model, made.bias.tobytes()), made.bias_scales)
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = [source, weights, bias], []
        graph.operators.append(operator)
    if net.floats.size:
        _tensor(graph, [net.floats.size], FLOAT32, _buffer(model, net.floats.tobytes()), [])
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def float_tflite(grids: Sequence[np.ndarray], note: bytes = b"note") -> bytes:
    """A model of constant tensors of floats; arrays of uint16 are bfloat16."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, note
    model.buffers, model.operatorCodes = [schema.BufferT()], [schema.OperatorCodeT()]
    graph.tensors, graph.operators = [], []
    for grid in grids:
        _tensor(graph, list(grid.shape), FLOAT_TYPES[grid.dtype.name], _buffer(model, grid.tobytes()), [])
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def float_onnx(grids: Sequence[np.ndarray], note: bytes = b"note") -> bytes:
    """The same as ONNX, every other tensor in a Constant node."""
    graph = b""
    for number, grid in enumerate(grids):
        kind = {"float32": 1, "float16": 10, "uint16": 16}[grid.dtype.name]
        tensor = _tensor_proto(f"w{number}", kind, grid.shape, grid.tobytes())
        attribute = _field(5, _field(1, b"value") + _field(5, tensor))
        graph += _field(1, attribute + _field(4, b"Constant")) if number % 2 else _field(5, tensor)
    return b"\x08\x09" + _field(2, note) + _field(7, graph)


def _buffer(model: schema.ModelT, data: bytes) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _tensor(graph: schema.SubGraphT, shape: list[int], kind: int, buffer: int, scales: object) -> int:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = shape, kind, buffer, b"t%d" % len(graph.tensors)
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.asarray(scales, np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(tensor.quantization.scale), np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def onnx(net: Net) -> bytes:
    graph = b""
    for number, made in enumerate(net.layers):
        names = {key: f"{key}{number}" for key in ("x", "xs", "w", "ws", "b", "bs")}
        graph += _initializer(names["xs"], 1, [], np.float32(made.input_scale).tobytes())
        graph += _initializer(names["w"], 3, made.weights.shape, made.weights.tobytes())
        graph += _initializer(names["ws"], 1, made.scales.shape, made.scales.tobytes())
        graph += _initializer(names["b"], 6, made.bias.shape, made.bias.tobytes())
        graph += _initializer(names["bs"], 1, made.scales.shape, made.bias_scales.tobytes())
        for value, scale in (("x", "xs"), ("w", "ws"), ("b", "bs")):
            graph += _node("DequantizeLinear", [names[value], names[scale]], [names[value] + "d"])
        graph += _node("Gemm", [names["x"] + "d", names["w"] + "d", names["b"] + "d"], [f"y{number}"])
    return b"\x08\x09" + _field(2, net.note) + _field(7, graph)


OPERATORS = {  # inputs after the activations: w weights, s scale, z zero point, b bias, y what belongs to the output
    "QLinearConv": "x xs xz w ws wz ys yz b",
    "QLinearMatMul": "x xs xz w ws wz ys yz",
    "QGemm": "x xs xz w ws wz b ys yz",
    "MatMulInteger": "x w xz wz",
    "ConvInteger": "x w xz wz",
    "MatMulIntegerToFloat": "x w xs ws xz wz",
    "DynamicQuantizeMatMul": "x w ws wz",
}


def onnx_on_integers(net: Net, op: str, zero: int = 0) -> bytes:
    """The layers of `net` as operators on integers; with a `zero` other than 0 the weights are bytes about it."""
    graph = b""
    for number, made in enumerate(net.layers):
        names = {key: f"{key}{number}" for key in OPERATORS[op].split()}
        kind = 2 if zero else 3
        moved = (made.weights.astype(np.int16) + zero).astype(np.uint8)
        values = {"w": (kind, made.weights.shape, moved.tobytes()), "ws": (1, made.scales.shape, made.scales.tobytes())}
        values["b"] = 6, made.bias.shape, made.bias.tobytes()
        graph += b"".join(_initializer(names[key], *values[key]) for key in names if key in values)
        point = b"\x10" + _varint(kind) + _field(5, _varint(zero)) + _field(8, names["wz"].encode())
        graph += _field(5, point) + _node(op, list(names.values()), [f"out{number}"])
    return b"\x08\x09" + _field(2, net.note) + _field(7, graph)


def _initializer(name: str, kind: int, shape: object, data: bytes) -> bytes:
    return _field(5, _tensor_proto(name, kind, shape, data))


def _tensor_proto(name: str, kind: int, shape: object, data: bytes) -> bytes:
    dims = b"".join(b"\x08" + _varint(int(size)) for size in shape)  # type: ignore[attr-defined]
    return dims + b"\x10" + _varint(kind) + _field(8, name.encode()) + _field(9, data)


def _node(op: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs) + b"".join(_field(2, n.encode()) for n in outputs)
    return _field(1, names + _field(4, op.encode()))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def packed(values: np.ndarray) -> bytes:
    """Integers from -8 to 7, two in a byte, the first in the low half."""
    flat = values.reshape(-1).astype(np.uint8) & 15
    flat = np.concatenate([flat, np.zeros(flat.size % 2, np.uint8)])
    return (flat[::2] | flat[1::2] << 4).tobytes()


def int4_tflite(grids: Sequence[np.ndarray]) -> bytes:
    """A model each of whose operators has one tensor of 4-bit weights."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, b"int4"
    model.buffers, model.operatorCodes = [schema.BufferT()], [schema.OperatorCodeT()]
    graph.tensors, graph.operators = [], []
    for grid in grids:
        operator = schema.OperatorT()
        number = _tensor(graph, list(grid.shape), schema.TensorType.INT4, _buffer(model, packed(grid)), [0.1])
        operator.inputs, operator.outputs = [number], []
        graph.operators.append(operator)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def int4_onnx(grids: Sequence[np.ndarray]) -> bytes:
    """The same in QDQ form."""
    graph = b""
    for number, grid in enumerate(grids):
        names = [f"{key}{number}" for key in ("x", "w", "s", "d")]
        graph += _initializer(names[1], 22, grid.shape, packed(grid))
        graph += _initializer(names[2], 1, [], np.float32(0.1).tobytes())
        graph += _node("DequantizeLinear", names[1:3], names[3:]) + _node(
            "MatMul", [names[0], names[3]], [f"y{number}"]
        )
    return b"\x08\x09" + _field(2, b"int4") + _field(7, graph)


def blocks_onnx(grids: Sequence[np.ndarray]) -> bytes:
    """The same as MatMulNBits, whose weights are bytes about 0x88 in blocks of 32."""
    graph = b""
    for number, grid in enumerate(grids):
        data = packed(grid + 8)
        shape = [len(grid), len(data) // len(grid) // 16, 16]
        graph += _initializer(f"w{number}", 2, shape, data)
        graph += _node("MatMulNBits", [f"x{number}", f"w{number}", f"s{number}"], [f"y{number}"])
    return b"\x08\x09" + _field(2, b"int4") + _field(7, graph)
