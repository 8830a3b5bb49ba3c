"""Segmentation: the class of each pixel, from maps of scores. Knows no quantization and no runtime."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.image import Placement
from skerry_agent.processing.scores import activated, output_at
from skerry_agent.wire.postprocess import Postprocess

Size = tuple[int, int]
UNSEEN = 255
"""In place of a class: the pixel was cut off. 65535 where there are more than 255 classes."""


class Mask(Struct, frozen=True, eq=False):
    """The class of each pixel (H, W), uint8, or uint16 where there are more than 255 classes."""

    classes: Array

    def shares(self) -> dict[int, float]:
        """The share of the picture that each class has."""
        values, counts = np.unique(self.classes, return_counts=True)
        return {int(value): int(count) / self.classes.size for value, count in zip(values, counts, strict=True)}

    def runs(self, at_most: int | None = None) -> list[tuple[int, int]] | None:
        """Class and length of each run of equal pixels, row after row without a break; None for more than so many."""
        flat = self.classes.reshape(-1)
        starts = np.concatenate([np.zeros(min(1, flat.size), np.int64), np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        if at_most is not None and len(starts) > at_most:
            return None
        lengths = np.diff(starts, append=flat.size)
        return list(zip(flat[starts].tolist(), lengths.tolist(), strict=True))


def segment(outputs: Sequence[Array], spec: Postprocess, size: Size, *, planes: bool = False) -> Mask:
    """The class of each pixel of the model's map; `size` is the input's. Raises `ProcessingError`."""
    maps = as_maps(output_at(outputs, spec.output), size, planes=planes)
    count = maps.shape[2]
    if spec.indices:
        if count != 1:
            raise ProcessingError(f"output {spec.output} has {count} maps, not one with the class of each pixel")
        limit = float(np.nanmax(maps, initial=0))
        return Mask(np.rint(maps[..., 0]).astype(np.uint8 if limit < UNSEEN else np.uint16))
    if count == 1:
        activation = "none" if spec.activation == "none" else "sigmoid"
        return Mask((activated(maps[..., 0], activation) >= spec.min_score).astype(np.uint8))
    return Mask(maps.argmax(axis=2).astype(np.uint8 if count <= UNSEEN else np.uint16))


def as_maps(output: Array, size: Size, *, planes: bool = False) -> Array:
    """One sample's output as maps (H, W, number); `planes`: the number comes first where both are possible."""
    if output.ndim == 3:
        single: Array = output[0][..., np.newaxis]
        return single
    if output.ndim != 4 or not output.size:
        raise ProcessingError(f"an output has shape {output.shape}, not that of maps (height, width, number)")
    last, first = output[0], output[0].transpose(1, 2, 0)
    order = (first, last) if planes else (last, first)
    return next((maps for maps in order if _has_form(maps, size)), order[0])


def _has_form(maps: Array, size: Size) -> bool:
    """Whether height and width are in the proportion of the input's."""
    height, width = maps.shape[:2]
    return bool(abs(height / size[0] - width / size[1]) <= 1 / min(size))


def mask_of_sample(mask: Mask, at: Placement, size: Size, raw: Size) -> Mask:
    """The mask of an input of `size` as one of the sample of `raw` that lies in it at a place: the nearest pixel."""
    classes = mask.classes
    unseen = UNSEEN if classes.dtype.itemsize == 1 else 65535
    rows, seen_rows = _nearest(raw[0], (at.top, at.height), size[0], classes.shape[0])
    columns, seen_columns = _nearest(raw[1], (at.left, at.width), size[1], classes.shape[1])
    made = classes[np.ix_(rows, columns)]
    if not (seen_rows.all() and seen_columns.all()):
        made[~(seen_rows[:, np.newaxis] & seen_columns)] = unseen
    return Mask(made)


def _nearest(raw: int, span: tuple[int, int], size: int, length: int) -> tuple[Array, Array]:
    """For each of `raw` pixels the nearest one of a map of `length`, and whether it lies in the input at all."""
    start, extent = span
    middle = (np.arange(raw) + 0.5) * (extent / raw) + start
    place = np.floor(middle * (length / size)).astype(np.int64)
    return np.clip(place, 0, length - 1), (middle >= 0) & (middle < size)
