"""Real values of quantized tensors and back, without numpy where that is quick: small or 8-bit tensors.

Computes what `skerry_agent.processing` computes, to the last bit; a test holds them equal. The rest goes through numpy,
which costs a runner about 16 MB from its first use on. Knows no request.
"""

import struct
import sys
from array import array
from functools import lru_cache

from skerry_agent.runner.tensor import FORMATS, Data, Tensor
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_agent.wire.shapes import squeezed

SMALL = 1024
"""Up to so many elements Python is quick enough (0.4 ms) to be spared numpy."""
_UNCHANGED = bytes(range(256))
_INTEGERS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1)}


def real_spec(spec: TensorSpec) -> TensorSpec:
    """A tensor as an application sees it: float32 if it is quantized or a float, else as it is."""
    is_real = bool(spec.scale) or spec.dtype.startswith("float")
    return TensorSpec(spec.name, "float32" if is_real else spec.dtype, spec.shape)


def dequantized(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """A tensor of the model as real values: what `real_spec` says."""
    wanted = real_spec(spec)
    if tensor.dtype == wanted.dtype:
        return tensor
    if spec.scale and tensor.dtype in {"int8", "uint8"}:
        return Tensor("float32", tensor.shape, _looked_up(tensor.data, _real_table(tensor.dtype, spec)))
    from skerry_agent.processing import dequantize  # noqa: PLC0415 - imports numpy
    from skerry_agent.runner.arrays import from_array, to_array  # noqa: PLC0415

    return from_array(dequantize(to_array(tensor), spec))


def prepared(sample: Tensor, prep: Preprocess, spec: TensorSpec) -> Tensor:
    """A sample of the model's own size as its input: value by value, so without channels, colours and axes to move.

    See `is_plain`.
    """
    if sample.dtype == spec.dtype and not spec.scale and (prep.scale, prep.offset) == (1.0, 0.0):
        return Tensor(spec.dtype, spec.shape, sample.data)
    if sample.dtype == "uint8" and spec.dtype in {"int8", "uint8", "float32"}:
        return Tensor(spec.dtype, spec.shape, _looked_up(sample.data, _input_table(prep, spec)))
    if sample.size <= SMALL and "numpy" not in sys.modules and spec.dtype in {*_INTEGERS, "float32"}:
        return Tensor(spec.dtype, spec.shape, _computed(sample.values(), prep, spec))
    from skerry_agent.runner.samples import prepared_values  # noqa: PLC0415 - imports numpy

    return prepared_values(sample, prep, spec)


def is_plain(prep: Preprocess, shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Whether preprocessing a sample of this shape treats each value alone, and leaves it where it is."""
    wanted = prep.sample_shape(spec) if spec.shape[:1] == (1,) else spec.shape
    moved = prep.layout == "nchw" and len(wanted) == 3 and wanted[2] != 1
    swapped = prep.color == "bgr" and prep.takes_image(spec) and wanted[-1:] == (3,)
    return not (prep.mean or prep.std or moved or swapped) and squeezed(shape) == squeezed(wanted)


def _looked_up(data: Data, planes: tuple[bytes, ...]) -> bytes:
    """Each byte replaced by the element that a table has for it; `planes` are the table's bytes of each place."""
    raw = data if isinstance(data, bytes) else bytes(data)
    if len(planes) == 1:
        return raw if planes[0] == _UNCHANGED else raw.translate(planes[0])
    found = bytearray(len(planes) * len(raw))
    for place, plane in enumerate(planes):
        found[place :: len(planes)] = raw.translate(plane)
    return bytes(found)


@lru_cache(maxsize=32)
def _real_table(dtype: str, spec: TensorSpec) -> tuple[bytes, ...]:
    """The real value of each byte of an 8-bit tensor, computed in float32 as `processing.dequantize` does."""
    (scale,) = struct.unpack("<f", struct.pack("<f", spec.scale))
    values = [byte - 256 if dtype == "int8" and byte > 127 else byte for byte in range(256)]
    return _planes(array("f", [(value - spec.zero_point) * scale for value in values]).tobytes(), 4)


@lru_cache(maxsize=32)
def _input_table(prep: Preprocess, spec: TensorSpec) -> tuple[bytes, ...]:
    """What the model takes for each value of a uint8 sample."""
    return _planes(_computed(range(256), prep, spec), struct.calcsize(FORMATS[spec.dtype]))


def _planes(table: bytes, width: int) -> tuple[bytes, ...]:
    return tuple(table[place::width] for place in range(width))


def _computed(values: tuple[float, ...] | range, prep: Preprocess, spec: TensorSpec) -> bytes:
    """Each value preprocessed and quantized; rounds half to even, as numpy does."""
    scale, offset = prep.scale, prep.offset
    if spec.dtype not in _INTEGERS:
        return array("f", [value * scale + offset for value in values]).tobytes()
    step, zero = (spec.scale, spec.zero_point) if spec.scale else (1.0, 0)
    low, high = (limit - zero for limit in _INTEGERS[spec.dtype])
    steps = [round(min(max((value * scale + offset) / step, low), high)) + zero for value in values]
    return array(FORMATS[spec.dtype], steps).tobytes()
