"""What an ONNX file holds, read without the onnx package and without running anything. Follows no external data.

Format: onnx.proto3 of ONNX 1.17 (field numbers below). The whole file is walked; weights are measured, not read.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct

from skerry_host.builder.modelfile.protobuf import DamagedError, Value, fields, inner, number, words
from skerry_host.builder.recipe.errors import ModelError

MAX_FILE_BYTES = 2 * 1024**3
"""What one protocol buffer message can hold."""

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_INTEGER_OPS = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}


class OnnxTensor(Struct, frozen=True):
    """An input or output: a size is a number, or the name of one that the file leaves open."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class OnnxFile(Struct, frozen=True):
    """A model: operators by kind and how often, its ends, its version of the operators by domain, bytes of weights.

    `metadata` is what its exporter has written into it.
    """

    producer: str
    ir_version: int
    opsets: dict[str, int]
    ops: dict[str, int]
    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    parameter_bytes: int
    external: tuple[str, ...]
    metadata: dict[str, str] = {}

    @property
    def quantized(self) -> bool:
        """Whether integers are computed with."""
        return bool(_INTEGER_OPS & set(self.ops))

    @property
    def open_sizes(self) -> list[str]:
        """Inputs with sizes that are known only at run time."""
        return [tensor.name for tensor in self.inputs if any(isinstance(n, str) or n < 1 for n in tensor.shape)]


def read_onnx(path: Path) -> OnnxFile:
    """What is in a file; raises `ModelError` (no_model, too_large, damaged)."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{path} is {size} bytes", hint=f"the limit is {MAX_FILE_BYTES}", code="too_large")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}", code="no_model") from None
    try:
        return parse_onnx(data)
    except DamagedError as error:
        hint = "export it again, and check where it came from"
        raise ModelError(f"{path} is not an ONNX file, or damaged ({error})", hint=hint, code="damaged") from None


def parse_onnx(data: bytes) -> OnnxFile:
    """What is in the bytes of a ModelProto; raises `DamagedError`."""
    found: dict[str, Any] = {"producer": "", "ir_version": 0}
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    graph: memoryview | None = None
    for field, value in fields(memoryview(data)):
        if field == 1:
            found["ir_version"] = number(value)
        elif field == 2:
            found["producer"] = words(value)
        elif field == 7:
            graph = inner(value)
        elif field == 8:
            domain, version = _opset(value)
            opsets[domain] = version
        elif field == 14:
            parts = dict(fields(inner(value)))
            metadata[words(parts[1]) if 1 in parts else ""] = words(parts[2]) if 2 in parts else ""
    if graph is None:
        raise DamagedError("it has no graph")
    return OnnxFile(opsets=opsets, metadata=metadata, **found, **_graph(graph))


def _opset(value: Value) -> tuple[str, int]:
    parts = dict(fields(inner(value)))
    return words(parts[1]) if 1 in parts else "", number(parts.get(2, 0))


def _graph(message: memoryview) -> dict[str, Any]:
    """GraphProto: node 1, initializer 5, input 11, output 12."""
    ops: Counter[str] = Counter()
    inputs: list[OnnxTensor] = []
    outputs: list[OnnxTensor] = []
    weights: list[tuple[str, int, str]] = []
    for field, value in fields(message):
        if field == 1:
            ops[_op_type(inner(value))] += 1
        elif field == 5:
            weights.append(_initializer(inner(value)))
        elif field in {11, 12}:
            (inputs if field == 11 else outputs).append(_tensor(inner(value)))
    constants = {name for name, _size, _place in weights}  # old files list these among the inputs
    return {
        "ops": dict(sorted(ops.items())),
        "inputs": tuple(tensor for tensor in inputs if tensor.name not in constants),
        "outputs": tuple(outputs),
        "parameter_bytes": sum(size for _name, size, _place in weights),
        "external": tuple(sorted({place for _name, _size, place in weights if place})),
    }


def _op_type(node: memoryview) -> str:
    """NodeProto: op_type 4, domain 7."""
    name = domain = ""
    for field, value in fields(node):
        if field == 4:
            name = words(value)
        elif field == 7:
            domain = words(value)
    return f"{domain}.{name}" if domain and domain != "ai.onnx" else name


def _initializer(tensor: memoryview) -> tuple[str, int, str]:
    """Name, bytes and location of a TensorProto: name 8, raw_data 9, other data 4 to 7, 10, 11, external_data 13."""
    name = place = ""
    size = 0
    for field, value in fields(tensor):
        if field == 8:
            name = words(value)
        elif field in {4, 5, 6, 7, 9, 10, 11}:
            size += len(inner(value)) if not isinstance(value, int) else 1
        elif field == 13:
            entry = dict(fields(inner(value)))
            if 1 in entry and 2 in entry and words(entry[1]) == "location":
                place = words(entry[2])
    return name, size, place


def _tensor(message: memoryview) -> OnnxTensor:
    """ValueInfoProto: name 1, type 2 (tensor_type 1: elem_type 1, shape 2 of dim 1: value 1, param 2)."""
    parts = dict(fields(message))
    kind = dict(fields(inner(parts[2]))) if 2 in parts else {}
    tensor = dict(fields(inner(kind[1]))) if 1 in kind else {}
    shape = fields(inner(tensor[2])) if 2 in tensor else ()
    sizes = tuple(_size(inner(value)) for field, value in shape if field == 1)
    dtype = DTYPES.get(number(tensor.get(1, 0)), "unknown")
    return OnnxTensor(words(parts[1]) if 1 in parts else "", dtype, sizes)


def _size(message: memoryview) -> int | str:
    parts = dict(fields(message))
    if 1 in parts:
        return number(parts[1])
    return words(parts[2]) if 2 in parts else "?"
