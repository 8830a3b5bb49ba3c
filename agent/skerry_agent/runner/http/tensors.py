"""Tensors as the Open Inference Protocol writes them: JSON numbers or raw little-endian bytes.

Datatype names are the protocol's (kserve/open-inference-protocol, "Tensor Data Types"). BYTES has no tensor here.
"""

from math import prod
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.runner.http.messages import RequestError
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


def describe(tensor: TensorSpec) -> dict[str, object]:
    """A tensor's entry in the metadata of its model."""
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": tensor.shape}


def from_bytes(raw: bytes, tensor: TensorSpec) -> Array:
    """A tensor from the binary extension. Raises `RequestError` (400) on another size or a NaN."""
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    wanted = prod(tensor.shape) * dtype.itemsize
    if len(raw) != wanted:
        raise RequestError(400, f"input {tensor.name}: {len(raw)} bytes of data, {wanted} expected")
    array = np.frombuffer(raw, dtype).astype(tensor.dtype, copy=False).reshape(tensor.shape)
    return _finite(array, tensor)


def from_json(data: Any, tensor: TensorSpec) -> Array:
    """A tensor from JSON data, flat or nested in row-major order. Raises `RequestError` (400) if it does not fit."""
    try:
        values = np.asarray(data)
    except ValueError:
        raise RequestError(400, f"input {tensor.name}: data is ragged") from None
    if values.size != prod(tensor.shape) or values.shape not in {tensor.shape, (values.size,)}:
        raise RequestError(400, f"input {tensor.name}: data has shape {list(values.shape)}, not {list(tensor.shape)}")
    return _finite(_cast(values, tensor).reshape(tensor.shape), tensor)


def to_bytes(array: Array) -> bytes:
    """A tensor as the binary extension carries it."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def to_json(array: Array, name: str) -> list[Any]:
    """A tensor as flat JSON numbers. Raises `RequestError` (500) if it holds what JSON cannot write."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(500, f"output {name} holds NaN or infinity")
    flat: list[Any] = array.reshape(-1).tolist()
    return flat


def _cast(values: Array, tensor: TensorSpec) -> Array:
    """Values of the tensor's dtype; nothing is rounded, wrapped or parsed from text."""
    target = np.dtype(tensor.dtype)
    allowed = {"b": "b", "f": "iuf"}.get(target.kind, "iu")
    if values.dtype.kind not in allowed:
        raise RequestError(400, f"input {tensor.name}: data is not of {DATATYPES[tensor.dtype]}")
    if target.kind in "iu" and values.size:
        limits = np.iinfo(target)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise RequestError(400, f"input {tensor.name}: data is outside {limits.min}..{limits.max}")
    with np.errstate(over="ignore"):  # what overflows becomes infinity, which is refused next
        return values.astype(target)


def _finite(array: Array, tensor: TensorSpec) -> Array:
    """Refuse NaN and infinity: the answer to them would be counted against the release."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(400, f"input {tensor.name}: data holds NaN or infinity")
    return array
