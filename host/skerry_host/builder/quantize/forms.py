"""Scales of single tensors: chosen for a range as the quantizer does, written as a file says them. Measures nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import qtyping
from litert_quantizer.algorithms.uniform_quantize.uniform_quantize_tensor import tensor_zp_scale_from_min_max

from skerry_agent.processing import Array

TYPES = {"int8": (schema.TensorType.INT8, 8), "int16": (schema.TensorType.INT16, 16)}
"""The type of a file, and how many bits it has."""


@dataclass(frozen=True, slots=True)
class Form:
    """The scale and the zero point of a tensor: real = scale * (integer - zero_point)."""

    scale: float
    zero: int


def form_of(low: Array, high: Array, dtype: str) -> Form:
    """The scale for a range (1,), by the quantizer's own arithmetic: zero lies among the steps."""
    zero, scale = tensor_zp_scale_from_min_max(
        np.asarray(low).reshape(1),
        np.asarray(high).reshape(1),
        TYPES[dtype][1],
        symmetric=dtype == "int16",
        granularity=qtyping.QuantGranularity.TENSORWISE,
    )
    return Form(float(np.float32(scale.ravel()[0])), int(zero.ravel()[0]))


def read_form(tensor: Any, dtype: str) -> Form | None:
    """The one scale of an integer tensor of a type, None for others."""
    form = tensor.quantization
    if tensor.type != TYPES[dtype][0] or form is None or form.scale is None or len(form.scale) != 1:
        return None
    return Form(float(form.scale[0]), int(form.zeroPoint[0]) if form.zeroPoint is not None else 0)


def integers(real: Array, form: Form, dtype: str) -> Array:
    """Real values as integers: rounded to the nearest step, clipped to what the type holds."""
    limit = 2 ** (TYPES[dtype][1] - 1)
    steps = np.rint(real.astype(np.float64) / form.scale) + form.zero
    clipped: Array = np.clip(steps, -limit, limit - 1).astype(np.dtype(dtype))
    return clipped


def quantization(form: Form) -> Any:
    """What a file says of a scale."""
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.array([form.scale], np.float32), np.array([form.zero], np.int64)
    return made
