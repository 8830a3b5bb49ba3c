"""Small models made by hand: int8 sources of a few operators, and files as the compiler would write them."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.modelfile.tflite import write_model

DTYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}
NUMPY = {"float32": np.float32, "int8": np.int8, "uint8": np.uint8, "int32": np.int32}


class Maker:
    """Collects tensors and operators into a model; tensors are named, operators given by tensor names."""

    def __init__(self) -> None:
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model = schema.ModelT()
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.operatorCodes, self._model.buffers = [], [schema.BufferT()]
        self._index: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "int8",
        data: Any = None,
        scale: float = 0.5,
        zero_point: int = 0,
    ) -> str:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), list(shape), DTYPES[dtype]
        made.buffer = 0
        if dtype != "float32" and scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero_point]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, NUMPY[dtype]).tobytes(), np.uint8)
            made.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._index[name] = len(self._graph.tensors)
        self._graph.tensors.append(made)
        return name

    def op(
        self,
        kind: str,
        inputs: list[str],
        outputs: list[str],
        version: int = 1,
        options: Any = None,
        custom: bytes = b"",
    ) -> None:
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        if builtin == schema.BuiltinOperator.CUSTOM:
            code.customCode = kind.encode()
        made = schema.OperatorT()
        made.opcodeIndex = len(self._model.operatorCodes)
        made.inputs, made.outputs = [self._index[n] for n in inputs], [self._index[n] for n in outputs]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, name), options
        if custom:
            made.customOptions = np.frombuffer(custom, np.uint8)
        self._model.operatorCodes.append(code)
        self._graph.operators.append(made)

    def data(self, inputs: list[str], outputs: list[str]) -> bytes:
        self._graph.inputs, self._graph.outputs = [self._index[n] for n in inputs], [self._index[n] for n in outputs]
        return write_model(self._model)

    def write(self, path: Path, inputs: list[str], outputs: list[str]) -> Path:
        path.write_bytes(self.data(inputs, outputs))
        return path


def chain(*kinds: str, shape: tuple[int, ...] = (1, 4, 4, 4)) -> bytes:
    """Operators of one input and one output, one after the other: RELU, ABS, ..."""
    made = Maker()
    names = [made.tensor(f"t{i}", shape) for i in range(len(kinds) + 1)]
    for i, kind in enumerate(kinds):
        made.op(kind, [names[i]], [names[i + 1]])
    return made.data(names[:1], names[-1:])


def compiled(left: list[tuple[str, str]] = (), *, custom_ops: int = 1, **package: Any) -> bytes:
    """A file with so many Edge TPU operators, then CPU operators (kind, name of the output)."""
    made = Maker()
    names = [made.tensor("t0", (1, 4, 4, 4))]
    for i in range(custom_ops):
        names.append(made.tensor(f"tpu{i}", (1, 4, 4, 4)))
        made.op("edgetpu-custom-op", names[-2:-1], names[-1:], custom=custom_options(**package))
    for kind, name in left:
        names.append(made.tensor(name, (1, 4, 4, 4)))
        made.op(kind, names[-2:-1], names[-1:])
    return made.data(names[:1], names[-1:])


def compiled_of(source: TensorSpec, made: TensorSpec, **package: Any) -> bytes:
    """A file with one Edge TPU operator that takes and gives tensors of these forms."""
    maker = Maker()
    names = [maker.tensor(s.name, s.shape, s.dtype, None, s.scale, s.zero_point) for s in (source, made)]
    maker.op("edgetpu-custom-op", names[:1], names[1:], custom=custom_options(**package))
    return maker.data(names[:1], names[1:])


def two_outputs() -> bytes:
    """A file with one Edge TPU operator that writes two outputs."""
    maker = Maker()
    names = [maker.tensor(name, (1, 4, 4, 4)) for name in ("t0", "one", "two")]
    maker.op("edgetpu-custom-op", names[:1], names[1:], custom=custom_options())
    return maker.data(names[:1], names[1:])


def custom_options(runtime: int = 13, cached: int = 640, streamed: int = 0, token: int = 0xABC) -> bytes:
    """The options of an Edge TPU operator, written by the field numbers of the public schema."""
    programs = [executable(2, streamed, token, layer=True), executable(1, cached, token)]
    builder = flatbuffers.Builder(64)
    entries = [builder.CreateString(program) for program in programs]
    builder.StartVector(4, len(entries), 4)
    for entry in reversed(entries):
        builder.PrependUOffsetTRelative(entry)
    vector = builder.EndVector()
    multi = finish(builder, {0: ("offset", vector)})
    builder = flatbuffers.Builder(64)
    payload = builder.CreateByteVector(multi)
    package = finish(builder, {0: ("int", runtime), 1: ("offset", payload)}, b"DWN1")
    options = flexbuffers.Builder()
    with options.Map():
        options.Key("1")
        options.Int(0)
        options.Key("4")
        options.Blob(package)
    return bytes(options.Finish())


def executable(kind: int, parameters: int, token: int, *, layer: bool = False) -> bytes:
    builder = flatbuffers.Builder(64)
    name = builder.CreateString("model")
    data = builder.CreateByteVector(bytes(parameters))
    fields = {1: ("offset", name), 6: ("offset", data), 13: ("short", kind), 14: ("ulong", token), 12: ("int", 96)}
    if layer:
        fields[9] = ("offset", _layers(builder))
    return finish(builder, fields)


def _layers(builder: Any) -> int:
    name = builder.CreateString("out")
    numerics = _table(builder, {0: ("int", 128), 1: ("float", 0.5)})
    made = _table(
        builder,
        {0: ("offset", name), 2: ("int", 3), 3: ("int", 4), 4: ("int", 5), 5: ("offset", numerics), 6: ("short", 8)},
    )
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(made)
    return int(builder.EndVector())


def finish(builder: Any, fields: dict[int, tuple[str, Any]], identifier: bytes | None = None) -> bytes:
    builder.Finish(_table(builder, fields), file_identifier=identifier)
    return bytes(builder.Output())


def _table(builder: Any, fields: dict[int, tuple[str, Any]]) -> int:
    builder.StartObject(17)
    for field, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(field, value, 0)
        else:
            add = {"int": "Int32", "short": "Int16", "ulong": "Uint64", "float": "Float32"}[kind]
            getattr(builder, f"Prepend{add}Slot")(field, value, 0)
    return int(builder.EndObject())
