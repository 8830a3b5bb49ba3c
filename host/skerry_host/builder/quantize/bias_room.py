"""Room for biases: coarser weights where the scale of a bias, input's times weights', would be too fine for it.

The quantizer gives channels whose weights are nearly zero (pruned ones) a scale to match, and then cuts their bias off
at the largest integer: a channel that is always 6 becomes 0. Such weights may as well be coarse. Jacob et al. (CVPR
2018), section 2.4, fix the scale of a bias; TensorFlow's converter widens it in the same way. A bias that no input
brings back into what the output holds, such as -1e9 before a RELU, needs no more room than one that is just so large.
Changes weights and biases of such channels only.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.quantize.weights import (
    KINDS,
    TRANSPOSED,
    WeightedLayer,
    by_output,
    counterparts,
    replace,
    values,
)

MOST_STEPS = 2.0**30
"""Of a bias: half of what 32 bits hold, so that the products that are added to it have room, too."""
_BIASES = {schema.TensorType.INT32: "int32", schema.TensorType.INT64: "int64"}
_LIMITS = {schema.TensorType.INT8: (-128, 127), schema.TensorType.INT16: (-32768, 32767)}
_LAYERS = (*KINDS, TRANSPOSED)


def make_room(model: Any, source: Any) -> int:
    """Widen the scales in a quantized `schema.ModelT` in place, by the float model; of how many layers."""
    done = 0
    for real, layer in counterparts(source, model, _LAYERS):
        if real.bias is None or not _integers(model, layer):
            continue
        weight, bias = values(source, real.weight, "float32"), values(source, real.bias, "float32")
        if weight.shape == tuple(model.subgraphs[0].tensors[layer.weight].shape):
            done += _widen(model, layer, weight.astype(np.float64), bias.astype(np.float64))
    return done


def least_scales(bias: Array, input_scale: float, output_scale: float) -> Array:
    """The finest scale of each channel's weights that leaves room for its bias (O,).

    And for a multiplier, that scale times the input's over the output's, which kernels take down to 2**-32 only.
    """
    floor: Array = np.maximum(np.abs(bias), output_scale) / (input_scale * MOST_STEPS)
    return floor


def _widen(model: Any, layer: WeightedLayer, weight: Array, bias: Array) -> bool:
    assert layer.bias is not None
    tensors = model.subgraphs[0].tensors
    form, input_scale = tensors[layer.weight].quantization, float(tensors[layer.input].quantization.scale[0])
    scale = np.asarray(form.scale, np.float64)
    cut = np.abs(bias) > scale * input_scale * MOST_STEPS
    bias = _as_far_as_it_counts(tensors, layer, weight, bias)
    least = least_scales(bias, input_scale, float(tensors[layer.output].quantization.scale[0]))
    least = least if len(scale) > 1 else least.max(keepdims=True)
    narrow = scale < least
    if not narrow.any() and not cut.any():
        return False
    wide = np.where(narrow, least, scale).astype(np.float32)
    steps = np.clip(np.rint(weight / by_output(wide, layer, weight.ndim)), -127, 127).astype(np.int8)
    kept = values(model, layer.weight, "int8")
    replace(model, layer.weight, np.where(by_output(narrow, layer, weight.ndim), steps, kept).astype(np.int8))
    bias_scale = (wide * np.float32(input_scale)).astype(np.float32)
    dtype = _BIASES[tensors[layer.bias].type]
    old, limits = values(model, layer.bias, dtype), np.iinfo(np.int32)
    new = np.clip(np.rint(bias / bias_scale), limits.min, limits.max)
    replace(model, layer.bias, np.where(narrow | cut, new, old).astype(dtype))
    form.scale, tensors[layer.bias].quantization.scale = wide, bias_scale
    return True


def _as_far_as_it_counts(tensors: Any, layer: WeightedLayer, weight: Array, bias: Array) -> Array:
    """Biases (O,) no further out than products can bring them back into the range of the output."""
    (read_low, read_high), (low, high) = (_range(tensors[index]) for index in (layer.input, layer.output))
    others = tuple(axis for axis in range(weight.ndim) if axis != layer.out_axis)
    reach = np.abs(weight).sum(axis=others) * max(-read_low, read_high)
    found: Array = np.clip(bias, low - reach, high + reach)
    return found


def _range(tensor: Any) -> tuple[float, float]:
    """The least and the largest real value that a tensor of integers holds, with a step more."""
    form, (low, high) = tensor.quantization, _LIMITS[tensor.type]
    scale, zero_point = float(form.scale[0]), int(form.zeroPoint[0])
    return (low - 1 - zero_point) * scale, (high + 1 - zero_point) * scale


def _integers(model: Any, layer: WeightedLayer) -> bool:
    """Whether a layer multiplies 8-bit weights, without a zero point, and has a whole bias."""
    tensors = model.subgraphs[0].tensors
    forms = [tensors[index].quantization for index in (layer.input, layer.weight, layer.output)]
    if any(form is None or form.scale is None or not len(form.scale) for form in forms):
        return False
    plain = tensors[layer.weight].type == schema.TensorType.INT8 and not np.any(forms[1].zeroPoint)
    plain = plain and all(tensors[index].type in _LIMITS for index in (layer.input, layer.output))
    return plain and layer.bias is not None and tensors[layer.bias].type in _BIASES


def _run(draft: Draft) -> Draft:
    make_room(draft.model, read_model(draft.source.data))
    return draft


STEP = Step("room for biases", lambda plan: plan.activations != "float", _run)
