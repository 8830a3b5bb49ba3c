"""A tensor as its bytes, and the questions that every inference asks of one, answered without numpy.

numpy would be more than a third of a small runner's memory: what needs it (raw samples, other runtimes) goes through
`skerry_agent.runner.arrays`. Data are little-endian and in row-major order, as TFLite and ONNX have them. Knows no
quantization.
"""

import math
import struct
from collections.abc import Sequence
from itertools import compress, count
from typing import Any

from msgspec import Struct

from skerry_agent.wire.manifest import TensorSpec

FORMATS = {
    "bool": "?",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}
"""Each dtype as `struct` writes it, without the byte order."""
_EXPONENT = {"float16": 0x7C, "float32": 0x7F, "float64": 0x7F}
"""The bits of a float's highest byte that are all set in NaN and infinity, and in few other numbers."""
_LARGE = {dtype: bytes(byte & mask == mask for byte in range(256)) for dtype, mask in _EXPONENT.items()}
_LOWER = tuple(bytes(range(end)) for end in (128, 32, 8, 1))
_UNSIGNED = bytes(byte ^ 0x80 for byte in range(256))

Data = bytes | bytearray | memoryview


class Tensor(Struct, frozen=True, eq=False):
    """One tensor: numpy's name of its dtype, its shape, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: Data

    @property
    def is_float(self) -> bool:
        """Whether it can hold NaN and infinity."""
        return self.dtype in _EXPONENT

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    def values(self) -> tuple[Any, ...]:
        """Its elements in row-major order, as Python's numbers."""
        return struct.unpack(f"<{self.size}{FORMATS[self.dtype]}", self.data)


def nbytes(spec: TensorSpec) -> int:
    """The bytes of a tensor of this kind. Raises `KeyError` for a dtype that has none here."""
    return math.prod(spec.shape) * struct.calcsize(FORMATS[spec.dtype])


def zeros(spec: TensorSpec) -> Tensor:
    """A tensor of zeros."""
    return Tensor(spec.dtype, spec.shape, bytes(nbytes(spec)))


def argmax(tensor: Tensor) -> int:
    """The index of the first of its largest elements in row-major order; a NaN counts as the largest."""
    if tensor.dtype in {"uint8", "int8"}:
        data = bytes(tensor.data)
        if tensor.dtype == "int8":
            data = data.translate(_UNSIGNED)
        for low in _LOWER:  # most outputs are small: without them there are few to look at
            if rest := data.translate(None, low):
                return data.index(max(rest))
        return 0
    values = tensor.values()
    if tensor.is_float and math.isnan(sum(values)):
        for index, value in enumerate(values):
            if value != value:  # noqa: PLR0124 - what makes a NaN one
                return index
    return values.index(max(values))


def is_finite(tensor: Tensor) -> bool:
    """Whether it holds neither NaN nor infinity."""
    if not tensor.is_float:
        return True
    width = struct.calcsize(FORMATS[tensor.dtype])
    large = bytes(tensor.data[width - 1 :: width]).translate(_LARGE[tensor.dtype])
    if 1 not in large:
        return True
    code, data = struct.Struct(f"<{FORMATS[tensor.dtype]}"), tensor.data
    return all(math.isfinite(code.unpack_from(data, index * width)[0]) for index in compress(count(), large))


def invalid(outputs: Sequence[Tensor]) -> str | None:
    """Why these outputs are invalid (NaN or infinity in a float output), or None if they are valid."""
    for position, output in enumerate(outputs):
        if not is_finite(output):
            return f"output {position} holds NaN or infinity"
    return None
