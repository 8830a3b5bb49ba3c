"""What can happen to a model file between two releases, and to any file on its way: by the tensor and by the byte.

Each mutation is one function (file, rng) -> file; `CannotError` where the file has nothing of the kind. What comes out
need not run, and need not be a model any more.
"""

import random
from collections.abc import Callable
from functools import wraps
from math import prod
from struct import error as struct_error

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Mutation = Callable[[bytes, random.Random], bytes]
LEAST, MOST = -128, 127


class CannotError(Exception):
    """The file has nothing that this mutation changes."""


# Any file.


def truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def edited_bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 8, 200))):
        if out:
            out[_place(len(out), rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def spliced(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted((_place(len(data), rng), _place(len(data), rng)))
    return data[:end] + data[start:] if rng.random() < 0.5 else data[:start] + data[end:]


def inserted(data: bytes, rng: random.Random) -> bytes:
    at = _place(len(data), rng)
    return data[:at] + rng.randbytes(rng.choice((1, 3, 64, 4000))) + data[at:]


def runs_of_extremes(data: bytes, rng: random.Random) -> bytes:
    at, size = _place(len(data), rng), rng.choice((16, 500, 5000))
    filled = data[:at] + bytes([rng.choice((0, 0x80, 0xFF))]) * size + data[at + size :]
    return filled[: len(data)]


def shifted_bytes(data: bytes, rng: random.Random) -> bytes:
    """Every byte of a stretch moves by one, as weights do: 127 becomes -128."""
    at, size = _place(len(data), rng), rng.choice((200, 5000))
    part = np.frombuffer(data[at : at + size], np.uint8)
    return data[:at] + (part + np.uint8(rng.choice((1, 255)))).tobytes() + data[at + size :]


def _place(size: int, rng: random.Random) -> int:
    """Where the tables of such files lie, half of the time."""
    if not size:
        raise CannotError
    edge = min(3000, size)
    return rng.choice((rng.randrange(size), rng.randrange(edge), size - 1 - rng.randrange(edge)))


FILE: list[Mutation] = [truncated, edited_bytes, spliced, inserted, runs_of_extremes, shifted_bytes]


# Weights as numbers, for both formats.


def _by_one(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(grid.astype(np.int16) + rng.integers(-1, 2, grid.shape), LEAST, MOST).astype(np.int8)


def _tuned(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = np.rint(grid + rng.laplace(0, rng.choice([0.2, 2, 20]), grid.shape))
    return np.clip(moved, LEAST, MOST).astype(np.int8)


def _with_least(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(grid.shape) < rng.choice([0.02, 0.5, 1]), LEAST, grid).astype(np.int8)


def _flipped(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return grid ^ np.int8(LEAST)


def _negated(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (-grid.astype(np.int16)).astype(np.int8)


def _pruned(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = np.abs(grid.astype(np.int16))
    return np.where(size <= np.quantile(size, rng.choice([0.3, 0.7])), 0, grid).astype(np.int8)


def _emptied(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(grid)


def _anew(grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(LEAST, MOST + 1, grid.shape).astype(np.int8)


GRIDS = [_by_one, _tuned, _with_least, _flipped, _negated, _pruned, _emptied, _anew]


def _regrided(data: bytes, rng: random.Random) -> bytes:
    change = rng.choice(GRIDS)
    return change(np.frombuffer(data, np.int8), np.random.default_rng(rng.getrandbits(32))).tobytes()


def _reshaped(shape: list[int], rng: random.Random) -> list[int]:
    """Another shape of as many elements, one row, one column and a matrix of other sides among them."""
    count = prod(shape)
    sides = [side for side in range(1, min(count, 4096) + 1) if count % side == 0]
    side = rng.choice(sides)
    made = [side, count // side]
    if rng.random() < 0.3:
        made = [1, *made] if rng.random() < 0.5 else [made[0], 1, 1, made[1]]
    return made[::-1] if rng.random() < 0.5 else made


def _scales(data: np.ndarray, rng: random.Random) -> np.ndarray:
    steps = np.random.default_rng(rng.getrandbits(32)).integers(-20, 20, data.shape)
    match rng.randrange(4):
        case 0:
            made = data * np.float32(rng.uniform(0.5, 2))
        case 1:
            made = data.astype(np.float64) * (1 + steps / 512)
        case 2:
            made = data + np.float32(1e-4) * steps
        case _:
            made = np.full_like(data, rng.choice([0.0, np.inf, np.nan, -1.0, 1e-45, 3e38]))
    with np.errstate(all="ignore"):
        return np.asarray(made).astype(np.float32)


# TFLite, through the schema's own objects.


def _tflite(change: Callable[[schema.ModelT, random.Random], None]) -> Mutation:
    @wraps(change)
    def mutation(data: bytes, rng: random.Random) -> bytes:
        try:
            model = schema.ModelT.InitFromPackedBuf(data, 0)
            change(model, rng)
            builder = flatbuffers.Builder(len(data) + 1024)
            builder.Finish(model.Pack(builder), b"TFL3")
        except (struct_error, ValueError, IndexError, TypeError, AttributeError, UnicodeError, MemoryError) as error:
            raise CannotError from error  # an earlier mutation left no model to read
        return bytes(builder.Output())

    return mutation


def _tensors(model: schema.ModelT, kinds: set[int] | None = None) -> list[schema.TensorT]:
    """Constants, of some types."""
    found = [
        tensor
        for graph in model.subgraphs
        for tensor in graph.tensors
        if len(model.buffers[tensor.buffer].data if model.buffers[tensor.buffer].data is not None else ())
        and (kinds is None or tensor.type in kinds)
    ]
    if not found:
        raise CannotError
    return found


GRID_KINDS = {schema.TensorType.INT8, schema.TensorType.UINT8}


def weights(model: schema.ModelT, rng: random.Random) -> None:
    for tensor in _some(_tensors(model, GRID_KINDS), rng):
        buffer = model.buffers[tensor.buffer]
        buffer.data = np.frombuffer(_regrided(bytes(buffer.data), rng), np.uint8)


def same_bytes_in_another_shape(model: schema.ModelT, rng: random.Random) -> None:
    for tensor in _some(_tensors(model, GRID_KINDS), rng):
        tensor.shape = _reshaped([int(side) for side in tensor.shape], rng)


def another_shape(model: schema.ModelT, rng: random.Random) -> None:
    """Rows or columns come or go."""
    for tensor in _some(_tensors(model, GRID_KINDS), rng):
        rows = max(1, int(tensor.shape[0]))
        grid = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.uint8).reshape(rows, -1)
        more = np.pad(grid, ((0, rng.randint(0, 5)), (0, rng.randint(0, 5))), constant_values=128)
        less = more[: rng.randint(1, len(more)), : rng.randint(1, more.shape[1])]
        made = np.ascontiguousarray(more if rng.random() < 0.5 else less)
        tensor.shape = list(made.shape)
        model.buffers[tensor.buffer].data = made.reshape(-1)


def transposed(model: schema.ModelT, rng: random.Random) -> None:
    for tensor in _some(_tensors(model, GRID_KINDS), rng):
        rows = max(1, int(tensor.shape[0]))
        grid = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.uint8).reshape(rows, -1).T
        tensor.shape = list(grid.shape)
        model.buffers[tensor.buffer].data = np.ascontiguousarray(grid).reshape(-1)


def other_dimensions(model: schema.ModelT, rng: random.Random) -> None:
    """Dimensions that lie."""
    for tensor in _some(_tensors(model), rng):
        lies = ([0], [-1, -prod(map(int, tensor.shape))], [], [1 << 30, 4], [int(-side) for side in tensor.shape])
        tensor.shape = rng.choice(lies)


def swapped(model: schema.ModelT, rng: random.Random) -> None:
    tensors = _tensors(model)
    one, other = rng.choice(tensors), rng.choice(tensors)
    one.buffer, other.buffer = other.buffer, one.buffer


def shared(model: schema.ModelT, rng: random.Random) -> None:
    tensors = _tensors(model)
    rng.choice(tensors).buffer = rng.choice(tensors).buffer


def other_type(model: schema.ModelT, rng: random.Random) -> None:
    for tensor in _some(_tensors(model), rng):
        tensor.type = rng.choice((0, 2, 3, 9))


def dropped(model: schema.ModelT, rng: random.Random) -> None:
    operators = rng.choice(model.subgraphs).operators
    for _ in range(rng.randint(1, 3)):
        if operators:
            operators.pop(rng.randrange(len(operators)))


def duplicated(model: schema.ModelT, rng: random.Random) -> None:
    """Layers come twice, with a copy of their weights."""
    graph = rng.choice(model.subgraphs)
    operator = rng.choice(graph.operators)
    copy = schema.OperatorT()
    copy.opcodeIndex, copy.outputs, copy.inputs = operator.opcodeIndex, operator.outputs, []
    for number in operator.inputs:
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data = model.buffers[graph.tensors[number].buffer].data
        tensor.__dict__.update(graph.tensors[number].__dict__, buffer=len(model.buffers))
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
        copy.inputs.append(len(graph.tensors) - 1)
    graph.operators.insert(rng.randrange(len(graph.operators) + 1), copy)


def reordered(model: schema.ModelT, rng: random.Random) -> None:
    rng.shuffle(rng.choice(model.subgraphs).operators)


def scales(model: schema.ModelT, rng: random.Random) -> None:
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.quantization]
    for tensor in _some([one for one in tensors if one.quantization.scale is not None], rng):
        tensor.quantization.scale = _scales(np.asarray(tensor.quantization.scale, np.float32), rng)


def zero_points(model: schema.ModelT, rng: random.Random) -> None:
    tensors = [tensor for tensor in _tensors(model) if tensor.quantization]
    for tensor in _some(tensors, rng):
        tensor.quantization.zeroPoint = np.array([rng.choice((0, 1, 127, 128, -128, 255, -(2**40)))], np.int64)


def biases(model: schema.ModelT, rng: random.Random) -> None:
    for tensor in _some(_tensors(model, {schema.TensorType.INT32}), rng):
        model.buffers[tensor.buffer].data = np.frombuffer(
            _words(bytes(model.buffers[tensor.buffer].data), rng), np.uint8
        )


TFLITE: list[Mutation] = [
    _tflite(change)
    for change in (
        weights,
        weights,
        same_bytes_in_another_shape,
        another_shape,
        transposed,
        other_dimensions,
        swapped,
        shared,
        other_type,
        dropped,
        duplicated,
        reordered,
        scales,
        zero_points,
        biases,
    )
]


# ONNX, through its own package.


def _onnx(change: Callable[..., None]) -> Mutation:
    @wraps(change)
    def mutation(data: bytes, rng: random.Random) -> bytes:
        import onnx
        from google.protobuf.message import DecodeError

        try:
            model = onnx.load_model_from_string(data)
        except DecodeError as error:
            raise CannotError from error
        change(model.graph, rng)
        return model.SerializeToString()

    return mutation


def _constants(graph, *kinds: int) -> list:
    found = [one for one in graph.initializer if one.data_type in kinds and one.raw_data and prod(one.dims)]
    if not found:
        raise CannotError
    return found


def onnx_weights(graph, rng: random.Random) -> None:
    for one in _some(_constants(graph, 2, 3), rng):
        one.raw_data = _regrided(one.raw_data, rng)


def onnx_same_bytes_in_another_shape(graph, rng: random.Random) -> None:
    for one in _some(_constants(graph, 2, 3), rng):
        one.dims[:] = _reshaped([len(one.raw_data)], rng)


def onnx_other_dimensions(graph, rng: random.Random) -> None:
    for one in _some(_constants(graph, 1, 2, 3, 6), rng):
        one.dims[:] = rng.choice(([0], [-1, -prod(one.dims)], [], [1 << 40, 4], [1, *one.dims]))


def onnx_scales(graph, rng: random.Random) -> None:
    for one in _some(_constants(graph, 1), rng):
        if len(one.raw_data) % 4 == 0:
            one.raw_data = _scales(np.frombuffer(one.raw_data, np.float32), rng).tobytes()


def onnx_biases(graph, rng: random.Random) -> None:
    for one in _some(_constants(graph, 6), rng):
        one.raw_data = _words(one.raw_data, rng)


def onnx_swapped(graph, rng: random.Random) -> None:
    constants = _constants(graph, 1, 2, 3, 6)
    one, other = rng.choice(constants), rng.choice(constants)
    one.raw_data, other.raw_data = other.raw_data, one.raw_data


def onnx_shared(graph, rng: random.Random) -> None:
    """Nodes use the tensors of others: a scale of two layers, weights of two layers."""
    kinds = {one.name: (one.data_type, len(one.raw_data)) for one in graph.initializer}
    for node, place in [(one, place) for one in graph.node for place in range(len(one.input))]:
        alike = [name for name, kind in kinds.items() if kind == kinds.get(node.input[place])]
        if alike and rng.random() < 0.2:
            node.input[place] = rng.choice(alike)


def onnx_dropped(graph, rng: random.Random) -> None:
    if graph.node:
        del graph.node[rng.randrange(len(graph.node))]


def onnx_duplicated(graph, rng: random.Random) -> None:
    for _ in range(min(3, len(graph.node))):
        graph.node.append(rng.choice(graph.node))
    graph.initializer.append(rng.choice(_constants(graph, 1, 2, 3, 6)))


def onnx_reordered(graph, rng: random.Random) -> None:
    constants = list(graph.initializer)
    rng.shuffle(constants)
    del graph.initializer[:]
    graph.initializer.extend(constants)


ONNX: list[Mutation] = [
    _onnx(change)
    for change in (
        onnx_weights,
        onnx_weights,
        onnx_same_bytes_in_another_shape,
        onnx_other_dimensions,
        onnx_scales,
        onnx_biases,
        onnx_swapped,
        onnx_shared,
        onnx_dropped,
        onnx_duplicated,
        onnx_reordered,
    )
]


def _words(data: bytes, rng: random.Random) -> bytes:
    """Biases a little off, or at the ends of their range."""
    if len(data) % 4:
        raise CannotError
    words = np.frombuffer(data, "<i4").astype(np.int64)
    numbers = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.3:
        words = numbers.choice([-(2**31), 2**31 - 1, 0, 1], words.shape)
    return (words + numbers.integers(-30, 31, words.shape)).astype(np.int64).astype("<u4").tobytes()


def _some(things: list, rng: random.Random) -> list:
    if not things:
        raise CannotError
    return rng.sample(things, min(len(things), rng.choice((1, 1, 3, 1000))))
