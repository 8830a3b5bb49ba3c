"""From a raw sample to a model's input and from its outputs to an answer: the same code on host and device.

Quantization is TFLite's affine one: real = scale * (q - zero_point). Knows no file, no runtime and no clock.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.wire.manifest import Preprocess, TensorSpec

CLASSIFICATION = "classification"


class Answer(Struct, frozen=True):
    """What a classifier says of one sample: the index of its largest output, and that output as a real value."""

    index: int
    score: float

    @property
    def label(self) -> str:
        """The bin of the output histogram that this answer counts in."""
        return str(self.index)


def preprocess(raw: Array, spec: Preprocess, tensor: TensorSpec) -> Array:
    """One raw sample as the model's input tensor, in its dtype and of shape `tensor.shape` (the batch of 1 is added).

    real = raw * spec.scale + spec.offset, then quantized if the tensor is. Axes of length 1 may be missing or extra.
    Raises `ProcessingError` when the sample has another shape or is not numeric.
    """
    if raw.dtype.kind not in "uif":
        raise ProcessingError(f"sample is of {raw.dtype}, not of numbers", hint="save it as uint8")
    if _squeezed(raw.shape) != _squeezed(tensor.shape):
        want = "x".join(map(str, tensor.shape[1:]))
        raise ProcessingError(f"sample has shape {raw.shape}, the model takes {want}", hint=f"resize it to {want}")
    if raw.dtype == np.uint8:
        return _table(spec, tensor)[raw].reshape(tensor.shape)
    return _to_tensor(raw, spec, tensor).reshape(tensor.shape)


def quantize(real: Array, tensor: TensorSpec) -> Array:
    """Real values in the tensor's dtype: rounded to the nearest step and clipped to the dtype's range (any shape)."""
    dtype = np.dtype(tensor.dtype)
    if dtype.kind not in "iu":
        return real.astype(dtype)
    steps = np.rint(real / tensor.scale) + tensor.zero_point if tensor.scale else np.rint(real)
    limits = np.iinfo(dtype)
    clipped: Array = np.clip(steps, limits.min, limits.max).astype(dtype)
    return clipped


def dequantize(values: Array, tensor: TensorSpec) -> Array:
    """A tensor's values as float32 reals (any shape)."""
    if not tensor.scale:
        return values.astype(np.float32)
    return (values.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)


def postprocess(outputs: Sequence[Array], tensors: Sequence[TensorSpec], task: str) -> Answer | None:
    """The answer to one sample, read from the first output; None for a task that has no single answer."""
    if task != CLASSIFICATION:
        return None
    flat = outputs[0].reshape(-1)
    index = int(flat.argmax())
    return Answer(index, float(dequantize(flat[index : index + 1], tensors[0])[0]))


def invalid(outputs: Sequence[Array]) -> str | None:
    """Why these outputs are no answer (NaN or infinity in a float output), or None if they are one."""
    for position, output in enumerate(outputs):
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            return f"output {position} holds NaN or infinity"
    return None


@lru_cache(maxsize=8)
def _table(spec: Preprocess, tensor: TensorSpec) -> Array:
    """Preprocessing of all 256 values that a uint8 can have: a look-up instead of four float operations."""
    return _to_tensor(np.arange(256, dtype=np.uint8), spec, tensor)


def _to_tensor(raw: Array, spec: Preprocess, tensor: TensorSpec) -> Array:
    return quantize(raw.astype(np.float64) * spec.scale + spec.offset, tensor)


def _squeezed(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(n for n in shape if n != 1)
