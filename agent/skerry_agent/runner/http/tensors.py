"""Tensors as the Open Inference Protocol writes them: JSON numbers or raw little-endian bytes.

Datatype names are the protocol's (kserve/open-inference-protocol, "Tensor Data Types"). BYTES has no tensor here.
"""

import math
import struct
from array import array
from typing import Any

from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.tensor import FORMATS, Data, Tensor, is_finite, nbytes
from skerry_agent.wire.manifest import TensorSpec

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def describe(tensor: TensorSpec, name: str | None = None) -> dict[str, object]:
    """A tensor's entry in metadata and responses, under its own name or another."""
    return {"name": name or tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": tensor.shape}


def from_bytes(raw: Data, spec: TensorSpec) -> Tensor:
    """A tensor from raw bytes, which are not copied. Raises `RequestError` (400) on another size or a NaN."""
    if len(raw) != nbytes(spec):
        raise RequestError(400, f"input {spec.name}: {len(raw)} bytes of data, {nbytes(spec)} expected")
    return finite(Tensor(spec.dtype, spec.shape, raw), spec)


def from_json(data: Any, spec: TensorSpec) -> Tensor:
    """A tensor from JSON data, flat or nested in row-major order. Raises `RequestError` (400) if it does not fit."""
    flat = data if isinstance(data, list) else [data]
    types = set(map(type, flat))
    if len(flat) != math.prod(spec.shape) or list in types:
        flat = _flat(data, spec)
        types = set(map(type, flat))
    return finite(Tensor(spec.dtype, spec.shape, _pack(flat, types, spec)), spec)


def to_json(tensor: Tensor, name: str) -> list[Any]:
    """A tensor as flat JSON numbers. Raises `RequestError` (500) if it holds what JSON cannot write."""
    if not is_finite(tensor):
        raise RequestError(500, f"output {name} holds NaN or infinity")
    return list(tensor.values())


def _flat(data: Any, spec: TensorSpec) -> list[Any]:
    """The elements of nested lists that have the tensor's shape."""
    level, shape = [data], []
    while level and isinstance(level[0], list):
        shape.append(len(level[0]))
        if any(not isinstance(row, list) or len(row) != shape[-1] for row in level):
            raise RequestError(400, f"input {spec.name}: data is ragged")
        level = [element for row in level for element in row]
    if tuple(shape) != spec.shape or list in set(map(type, level)):
        raise RequestError(400, f"input {spec.name}: data has shape {shape}, not {list(spec.shape)}")
    return level


def _pack(values: list[Any], types: set[type], spec: TensorSpec) -> bytes:
    """The bytes of numbers of these types; nothing is rounded, wrapped or parsed from text."""
    is_float = spec.dtype.startswith("float")
    allowed = {bool} if spec.dtype == "bool" else {int, float} if is_float else {int}
    if not types <= allowed:
        raise RequestError(400, f"input {spec.name}: data is not of {DATATYPES[spec.dtype]}")
    code = FORMATS[spec.dtype]
    try:
        return struct.pack(f"<{len(values)}{code}", *values) if code in "?e" else array(code, values).tobytes()
    except (OverflowError, struct.error):
        if is_float:
            raise RequestError(400, f"input {spec.name}: data holds what {DATATYPES[spec.dtype]} cannot") from None
        bits = 8 * struct.calcsize(code)
        low, high = (0, 2**bits - 1) if spec.dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        raise RequestError(400, f"input {spec.name}: data is outside {low}..{high}") from None


def finite(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """Refuse NaN and infinity: the answer to them would be counted against the release."""
    if not is_finite(tensor):
        raise RequestError(400, f"input {spec.name}: data holds NaN or infinity")
    return tensor
