"""Resizes images to a model's input and converts their colours, in numpy: bilinear, antialiased as in PIL.

The filter is as wide as the reduction: one of fixed width skips pixels when it shrinks an image (aliasing).
"""

from functools import lru_cache
from math import ceil, floor

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.wire.manifest import Preprocess

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Grey of red, green and blue (ITU-R BT.601)."""


class Placement(Struct, frozen=True):
    """Where a sample lies in the model's input: its size there in pixels, and the input's pixel of its corner.

    A crop has a negative corner: what lies outside of the input is cut.
    """

    height: int
    width: int
    top: int
    left: int


def place(raw: tuple[int, int], size: tuple[int, int], spec: Preprocess) -> Placement:
    """Where an image of `raw` (height, width) lies in an input of `size` (height, width)."""
    if spec.resize in {"none", "stretch"}:
        return Placement(size[0], size[1], 0, 0)
    ratios = size[0] / raw[0], size[1] / raw[1]
    ratio = min(ratios) if spec.resize == "letterbox" else max(ratios)
    height, width = (max(1, round(n * ratio)) for n in raw)
    if spec.align == "start":
        return Placement(height, width, 0, 0)
    return Placement(height, width, (size[0] - height) // 2, (size[1] - width) // 2)


def fit(raw: Array, spec: Preprocess, size: tuple[int, int], channels: int) -> Array:
    """An image (H, W) or (H, W, C) as (height, width, channels) in its own dtype; raises `ProcessingError`."""
    if raw.ndim == 2:
        raw = raw[..., np.newaxis]
    if raw.ndim != 3 or 0 in raw.shape:
        raise ProcessingError(
            f"sample has shape {raw.shape}, not that of an image", hint="give (height, width, channels)"
        )
    colored = _color(raw, spec, channels)
    if spec.resize == "none" or colored.shape[:2] == size:
        return colored
    at = place((colored.shape[0], colored.shape[1]), size, spec)
    return _put(resize(colored, at.height, at.width), at, size, spec.pad)


def resize(image: Array, height: int, width: int) -> Array:
    """An image (H, W, C) in another size, in its own dtype: rounded if that is an integer."""
    real = _along(_along(image, height, 0), width, 1)
    if image.dtype.kind not in "ui":
        return real.astype(image.dtype)
    limits = np.iinfo(image.dtype)
    rounded: Array = np.clip(np.rint(real), limits.min, limits.max).astype(image.dtype)
    return rounded


def _color(image: Array, spec: Preprocess, channels: int) -> Array:
    """RGB or grey in, what the model takes out; grey is repeated for a model that takes colours."""
    have = image.shape[2]
    if have == 4:
        image, have = image[..., :3], 3
    if spec.color == "gray" and have == 3 and channels == 1:
        gray = image.astype(np.float32) @ _LUMA
        return (np.rint(gray) if image.dtype.kind in "ui" else gray).astype(image.dtype)[..., np.newaxis]
    if have == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    return image[..., ::-1] if spec.color == "bgr" and have == 3 else image


def _put(image: Array, at: Placement, size: tuple[int, int], pad: float) -> Array:
    """The image at its place in an input of `size`, the rest padded."""
    made = np.full((*size, image.shape[2]), pad, image.dtype)
    (top, rows), (left, columns) = _span(at.top, at.height, size[0]), _span(at.left, at.width, size[1])
    seen = image[top - at.top : top - at.top + rows, left - at.left : left - at.left + columns]
    made[top : top + rows, left : left + columns] = seen
    return made


def _span(start: int, length: int, limit: int) -> tuple[int, int]:
    """First index within 0..limit and how many follow."""
    first = max(0, start)
    return first, min(limit, start + length) - first


def _along(image: Array, size: int, axis: int) -> Array:
    """Resample one axis in float32, as a weighted sum over the taps of each new pixel.

    Only what a tap takes is converted: all of a 4K picture in float32 would be 100 MB.
    """
    if image.shape[axis] == size:
        return image
    taps, weights = _filter(image.shape[axis], size)
    shape = [1] * image.ndim
    shape[axis] = size
    total: Array = np.zeros([size if at == axis else n for at, n in enumerate(image.shape)], np.float32)
    for index, weight in zip(taps, weights, strict=True):
        total += np.take(image, index, axis).astype(np.float32, copy=False) * weight.reshape(shape)
    return total


@lru_cache(maxsize=32)
def _filter(old: int, new: int) -> tuple[Array, Array]:
    """For each tap the source index and weight of every new pixel (taps, new): a triangle, at least a pixel wide."""
    ratio = old / new
    reach = max(1.0, ratio)
    centres = (np.arange(new) + 0.5) * ratio
    count = 2 * ceil(reach) + 1
    first = np.array([floor(centre - reach) for centre in centres])
    index = first + np.arange(count)[:, np.newaxis]
    weights = np.maximum(0.0, 1.0 - np.abs(index + 0.5 - centres) / reach)
    weights[(index < 0) | (index >= old)] = 0.0
    kept = weights.any(axis=1)
    weights = weights[kept] / weights.sum(axis=0)
    return np.clip(index[kept], 0, old - 1), weights.astype(np.float32)
