"""Keypoints: places in a picture, given as numbers or by maps. Knows no quantization and no runtime.

Sources: the landmark models of MediaPipe and MoveNet (numbers), Papandreou et al., "Towards Accurate Multi-person Pose
Estimation in the Wild", 2017 (maps with offsets, PoseNet).
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.image import Placement
from skerry_agent.processing.masks import as_maps
from skerry_agent.processing.scores import activated, output_at, sigmoid
from skerry_agent.wire.postprocess import Postprocess

Size = tuple[int, int]


class Point(Struct, frozen=True):
    """One point: y and x in 0..1 of the sample, and its score; None where the model gives none."""

    y: float
    x: float
    score: float | None = None


class Keypoints(Struct, frozen=True):
    """All points of one sample, in the model's order; `presence` is the score that there is what they belong to."""

    points: tuple[Point, ...]
    presence: float | None = None


def keypoints(outputs: Sequence[Array], spec: Postprocess, size: Size, *, planes: bool = False) -> Keypoints:
    """The points in 0..1 of an input of `size`. Raises `ProcessingError` when outputs do not fit."""
    table = _from_maps(outputs, spec, size, planes) if spec.heatmaps else _from_numbers(outputs, spec, size)
    presence = None
    if spec.presence is not None:
        raw = output_at(outputs, spec.presence).reshape(-1)
        if raw.size != 1:
            raise ProcessingError(f"output {spec.presence} has {raw.size} numbers, not one that says what is there")
        presence = float(activated(raw, spec.presence_activation)[0])
    return Keypoints(tuple(Point(y, x, None if np.isnan(s) else s) for y, x, s in table.tolist()), presence)


def points_of_sample(found: Keypoints, at: Placement, size: Size) -> Keypoints:
    """Points of an input of `size` as points of the sample that lies in it at a place."""

    def moved(point: Point) -> Point:
        y = (point.y * size[0] - at.top) / at.height
        x = (point.x * size[1] - at.left) / at.width
        return Point(y, x, point.score)

    return Keypoints(tuple(map(moved, found.points)), found.presence)


def _from_numbers(outputs: Sequence[Array], spec: Postprocess, size: Size) -> Array:
    """A row of y, x, score for each point."""
    columns, flat = spec.columns or "xy", output_at(outputs, spec.output).reshape(-1).astype(np.float64)
    if columns.count("x") != 1 or columns.count("y") != 1 or columns.count("s") > 1:
        raise ProcessingError(f"postprocess.columns {columns!r} needs one x, one y and at most one s")
    if not flat.size or flat.size % len(columns):
        raise ProcessingError(
            f"output {spec.output} has {flat.size} numbers, not {len(columns)} ({columns}) for each point"
        )
    rows = flat.reshape(-1, len(columns))
    y, x = rows[:, columns.index("y")], rows[:, columns.index("x")]
    if spec.units == "pixels":
        y, x = y / size[0], x / size[1]
    elif spec.units == "signed":
        y, x = (y + 1) / 2, (x + 1) / 2
    score = np.full(len(rows), np.nan)
    if "s" in columns:
        score = activated(rows[:, columns.index("s")], "none" if spec.activation == "none" else "sigmoid")
    return np.stack([y, x, score], axis=1)


def _from_maps(outputs: Sequence[Array], spec: Postprocess, size: Size, planes: bool) -> Array:
    """A row of y, x, score for each map: where it is highest."""
    maps = as_maps(output_at(outputs, spec.output), size, planes=planes).astype(np.float64)
    height, width, count = maps.shape
    flat = maps.reshape(-1, count)
    best = flat.argmax(axis=0)
    rows, columns = np.divmod(best, width)
    score = flat[best, np.arange(count)]
    score = sigmoid(score) if spec.activation == "sigmoid" else score
    if spec.offsets is None:
        return np.stack([(rows + 0.5) / height, (columns + 0.5) / width, score], axis=1)
    vectors = as_maps(output_at(outputs, spec.offsets), size, planes=planes)
    if vectors.shape != (height, width, 2 * count):
        raise ProcessingError(f"output {spec.offsets} has maps {vectors.shape}, not {(height, width, 2 * count)}")
    moved = vectors[rows, columns]
    down, right = moved[np.arange(count), np.arange(count)], moved[np.arange(count), np.arange(count) + count]
    y = rows * ((size[0] - 1) / max(1, height - 1)) + down  # cells are spread from edge to edge
    x = columns * ((size[1] - 1) / max(1, width - 1)) + right
    return np.stack([y / size[0], x / size[1], score], axis=1)
