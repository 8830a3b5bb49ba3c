"""Extracts the ranges that a model was trained with (QAT) from a float TFLite graph, for the quantizer to use.

Converters write them as QUANTIZE and DEQUANTIZE in pairs, old ones as FAKE_QUANT. Left in, a quantizer takes the pairs
for operators of the model and measures its own ranges. Quantizes nothing itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.links import kinds
from skerry_host.builder.modelfile.tflite import text

TrainedRanges = dict[str, tuple[float, float]]
"""The real values that an activation's integers reach, by the name of its tensor."""

_INTEGERS: dict[int, type[np.signedinteger[Any] | np.unsignedinteger[Any]]] = {
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
}
_FLOAT32 = schema.TensorType.FLOAT32


_SAME = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "SLICE", "STRIDED_SLICE"}
"""Operators of which the integer form needs the same scale on both sides."""


@dataclass(frozen=True, slots=True)
class _Rounding:
    """One pair, or one FAKE_QUANT: what it reads and writes, its operators' places, bounds of its range by channel."""

    read: int
    written: int
    places: tuple[int, ...]
    low: Array
    high: Array


def take_ranges(model: Any) -> TrainedRanges:
    """Remove every rounding from a `schema.ModelT`, in place; the ranges of the activations that were rounded.

    Constants are clipped to their range, not rounded: the quantizer rounds them to the same integers. Where a tensor is
    rounded twice the last range counts.
    """
    main = model.subgraphs[0]
    found = list(_roundings(model, main))
    sources = {rounding.written: rounding.read for rounding in found}
    ranges: TrainedRanges = {}
    for rounding in found:
        origin = _origin(rounding.read, sources)
        if _data(model, main, origin) is not None:
            _clip(model, main.tensors[origin], rounding)
        else:
            ranges[text(main.tensors[origin].name)] = (float(rounding.low.min()), float(rounding.high.max()))
    gone = {place for rounding in found for place in rounding.places}
    main.operators = [op for at, op in enumerate(main.operators or []) if at not in gone]
    _read_origins(model, main, sources)
    _carry_back(model, main, ranges)
    return ranges


def _roundings(model: Any, main: Any) -> Iterator[_Rounding]:
    names = kinds(model)
    integers: dict[int, tuple[int, int]] = {}
    for place, op in enumerate(main.operators or []):
        name = names[op.opcodeIndex]
        if name == "QUANTIZE" and main.tensors[op.inputs[0]].type == _FLOAT32:
            integers[int(op.outputs[0])] = (place, int(op.inputs[0]))
        elif name == "DEQUANTIZE" and int(op.inputs[0]) in integers:
            before, read = integers[int(op.inputs[0])]
            bounds = _real_range(main.tensors[op.inputs[0]], len(main.tensors[read].shape))
            if bounds is not None:
                yield _Rounding(read, int(op.outputs[0]), (before, place), *bounds)
        elif name == "FAKE_QUANT":
            options = op.builtinOptions
            low, high = (np.array(value, np.float64) for value in (options.min, options.max))
            yield _Rounding(int(op.inputs[0]), int(op.outputs[0]), (place,), low, high)


def _real_range(tensor: Any, rank: int) -> tuple[Array, Array] | None:
    """The least and largest real value of a quantized tensor, shaped to be laid over its channels; None for others.

    real = scale * (q - zero_point), by channel along `quantized_dimension` (schema.fbs, QuantizationParameters).
    """
    form, dtype = tensor.quantization, _INTEGERS.get(tensor.type)
    if dtype is None or form is None or form.scale is None or not len(form.scale):
        return None
    scale, zero = np.asarray(form.scale, np.float64), np.asarray(form.zeroPoint, np.float64)
    limits = np.iinfo(dtype)
    shape = [1] * rank
    if len(scale) > 1:
        shape[form.quantizedDimension] = len(scale)
    low, high = ((end - zero) * scale for end in (limits.min, limits.max))
    return low.reshape(shape), high.reshape(shape)


def _clip(model: Any, tensor: Any, rounding: _Rounding) -> None:
    values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32).reshape(tensor.shape)
    clipped = np.clip(values, rounding.low, rounding.high).astype(np.float32)
    model.buffers[tensor.buffer].data = np.frombuffer(clipped.tobytes(), np.uint8)


def _read_origins(model: Any, main: Any, sources: dict[int, int]) -> None:
    """Let all that reads a rounded tensor, outputs and signatures included, read what was rounded."""
    for op in main.operators:
        op.inputs = np.array([_origin(int(i), sources) for i in op.inputs], np.int32)
    main.outputs = np.array([_origin(int(i), sources) for i in main.outputs], np.int32)
    for entry in (entry for one in model.signatureDefs or [] for entry in one.outputs or []):
        entry.tensorIndex = _origin(int(entry.tensorIndex), sources)


def _carry_back(model: Any, main: Any, ranges: TrainedRanges) -> None:
    """What was trained behind a RESHAPE holds in front of it, too: quantizers take the scale from there."""
    names = kinds(model)
    for op in reversed(main.operators):
        after = ranges.get(text(main.tensors[op.outputs[0]].name))
        if names[op.opcodeIndex] in _SAME and after is not None:
            ranges.setdefault(text(main.tensors[op.inputs[0]].name), after)


def _origin(index: int, sources: dict[int, int]) -> int:
    while index in sources:
        index = sources[index]
    return index


def _data(model: Any, main: Any, index: int) -> Any:
    data = model.buffers[main.tensors[index].buffer].data
    return data if data is not None and len(data) else None
