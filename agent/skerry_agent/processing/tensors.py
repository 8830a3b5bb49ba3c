"""Preprocessing: from a raw sample to a model's input, on host and device; and tensors as real values and back.

Quantization is TFLite's affine one: real = scale * (q - zero_point). Knows no file, no runtime and no clock.
"""

from functools import lru_cache

import numpy as np

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.image import fit
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_agent.wire.shapes import squeezed


def preprocess(raw: Array, spec: Preprocess, tensor: TensorSpec) -> Array:
    """One raw sample as the model's input tensor, in its dtype and of shape `tensor.shape` (the batch of 1 is added).

    See `Preprocess` for what is computed; the result is quantized if the tensor is. Axes of length 1 may be missing or
    extra. Raises `ProcessingError` when the sample has another shape or is not numeric.
    """
    if raw.dtype.kind not in ("uifb" if tensor.dtype in _WHOLE else "uif"):
        raise ProcessingError(f"sample has dtype {raw.dtype}, not a numeric one", hint="save it as uint8")
    raw = fit_input(raw, spec, tensor)
    wanted = sample_shape(spec, tensor)
    if squeezed(raw.shape) != squeezed(wanted):
        want = "x".join(map(str, wanted))
        raise ProcessingError(f"sample has shape {raw.shape}, the model takes {want}", hint=f"resize it to {want}")
    raw = raw.reshape(wanted)
    if tensor.dtype in _WHOLE and not tensor.scale:
        return _whole(raw, tensor).reshape(tensor.shape)
    real = _table(spec, tensor)[raw] if raw.dtype == np.uint8 and not spec.mean and not spec.std else None
    values = _to_tensor(raw, spec, tensor) if real is None else real
    if tensor.shape[:1] != (1,):
        return values
    planes = spec.layout == "nchw" and values.ndim == 3
    return np.ascontiguousarray(values.transpose(2, 0, 1))[np.newaxis] if planes else values[np.newaxis]


def fit_input(raw: Array, spec: Preprocess, tensor: TensorSpec) -> Array:
    """A sample with the size and the colours that an input takes, in its own dtype; as it is where that is no image.

    What `preprocess` does first: the rest is the same for all samples of one size. Raises `ProcessingError`.
    """
    if not spec.takes_image(tensor):
        return raw
    height, width, channels = image_shape(spec, tensor)
    return fit(raw[0] if raw.ndim == 4 and len(raw) == 1 else raw, spec, (height, width), channels)


_WHOLE = {"int32", "int64", "bool"}
"""Ids, masks, lengths: they are what they are, and are neither scaled nor rounded."""


def _whole(raw: Array, tensor: TensorSpec) -> Array:
    """Whole numbers in the tensor's dtype. Raises `ProcessingError` for others, and for those that it cannot hold."""
    with np.errstate(invalid="ignore"):
        made = raw.astype(tensor.dtype)
        same = bool((made == raw).all())
    if not same:
        raise ProcessingError(f"input {tensor.name} takes whole numbers ({tensor.dtype}), the sample has others")
    return made


def sample_shape(spec: Preprocess, tensor: TensorSpec) -> tuple[int, ...]:
    """The shape of a sample that needs no resizing, without a batch of 1: images are (H, W, channels).

    Of an input whose first axis is none (a batch over 1, a state) it is the whole tensor.
    """
    return spec.sample_shape(tensor) if tensor.shape[:1] == (1,) else tensor.shape


def image_shape(spec: Preprocess, tensor: TensorSpec) -> tuple[int, int, int]:
    """Height, width and channels of the input; raises `ProcessingError` when it takes no image."""
    shape = sample_shape(spec, tensor)
    if len(shape) != 3:
        raise ProcessingError(
            f"the model takes {tensor.shape}, which is not an image", hint="leave out resize and color"
        )
    return shape[0], shape[1], shape[2]


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
    real: Array = values.astype(np.float32)
    if tensor.scale:
        real -= np.float32(tensor.zero_point)
        real *= np.float32(tensor.scale)
    return real


@lru_cache(maxsize=8)
def _table(spec: Preprocess, tensor: TensorSpec) -> Array:
    """Preprocessing of all 256 values that a uint8 can have: a look-up instead of four float operations."""
    return _to_tensor(np.arange(256, dtype=np.uint8), spec, tensor)


def _to_tensor(raw: Array, spec: Preprocess, tensor: TensorSpec) -> Array:
    """Channels are the last axis here, whatever the model's layout."""
    real = raw.astype(np.float64) * spec.scale + spec.offset
    try:
        if spec.mean:
            real -= spec.mean
        if spec.std:
            real /= spec.std
    except ValueError:
        counts = f"{len(spec.mean)} means and {len(spec.std)} deviations"
        raise ProcessingError(f"preprocess has {counts}, the sample {raw.shape[-1]} channels") from None
    return quantize(real, tensor)
