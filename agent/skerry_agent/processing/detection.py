"""Decodes a detector's real-valued outputs to boxes, in 0..1 of the sample. Knows no quantization and no runtime."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.image import Placement
from skerry_agent.wire.manifest import Postprocess


class Detection(Struct, frozen=True):
    """One detected object: its class, its score, and its box (top, left, bottom, right) in 0..1 of the sample."""

    index: int
    score: float
    box: tuple[float, float, float, float]


class Detections(Struct, frozen=True):
    """The detections in one sample, the highest score first."""

    found: tuple[Detection, ...]


def detect(outputs: Sequence[Array], spec: Postprocess, size: tuple[int, int]) -> Detections:
    """The boxes in 0..1 of an input of `size` (height, width). Raises `ProcessingError` when outputs do not fit."""
    boxes, scores = _outputs(outputs, spec)
    if spec.decoder == "ssd":
        boxes = _from_anchors(boxes, spec, size)
    if spec.classes is None:
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), classes]
    else:
        classes, best = outputs[spec.classes].reshape(-1).astype(np.int64), scores.reshape(-1)
    sure = np.flatnonzero(best >= spec.min_score)
    order = sure[np.argsort(-best[sure], kind="stable")]
    kept = _non_max_suppression(boxes, classes, order, spec)
    return Detections(tuple(_detection(int(classes[i]), float(best[i]), boxes[i]) for i in kept))


def to_sample(found: Detections, at: Placement, size: tuple[int, int]) -> Detections:
    """Boxes of an input of `size` as boxes of the sample that lies in it at a place."""
    scale = np.array([size[0] / at.height, size[1] / at.width] * 2)
    shift = np.array([at.top / size[0], at.left / size[1]] * 2)
    return Detections(tuple(_detection(d.index, d.score, (np.array(d.box) - shift) * scale) for d in found.found))


def iou(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) with others (N, 4), all (top, left, bottom, right)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both
    result: Array = np.divide(both, union, out=np.zeros(len(others)), where=union > 0)
    return result


def _outputs(outputs: Sequence[Array], spec: Postprocess) -> tuple[Array, Array]:
    """Boxes (N, 4) and scores (N, classes) after the activation."""
    needed = max(spec.boxes, spec.scores, spec.classes or 0)
    if needed >= len(outputs):
        raise ProcessingError(f"the model has {len(outputs)} outputs, postprocess names output {needed}")
    raw = outputs[spec.boxes]
    count = raw.size // (raw.shape[-1] or 1)
    if raw.ndim < 2 or raw.shape[-1] < 4:
        raise ProcessingError(f"output {spec.boxes} does not have 4 numbers per box, its shape is {raw.shape}")
    for place in (spec.scores, *([] if spec.classes is None else [spec.classes])):
        if count == 0 or outputs[place].size % count:
            raise ProcessingError(f"output {place} has {outputs[place].size} values for {count} boxes")
    boxes = raw.reshape(-1, raw.shape[-1])[:, :4].astype(np.float64)
    scores = outputs[spec.scores].reshape(len(boxes), -1).astype(np.float64)
    if spec.activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
    elif spec.activation == "softmax":
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = raised / raised.sum(axis=1, keepdims=True)
    return boxes, scores


def _from_anchors(boxes: Array, spec: Postprocess, size: tuple[int, int]) -> Array:
    """Centre x, y, width, height in pixels, relative to anchors, as (top, left, bottom, right) in 0..1."""
    centres = anchors(spec.strides, spec.per_cell, size)
    if len(centres) != len(boxes):
        raise ProcessingError(f"the model gives {len(boxes)} boxes, strides and per_cell make {len(centres)} anchors")
    height, width = size
    middle = boxes[:, 1::-1] / (height, width) + centres
    half = boxes[:, 3:1:-1] / (2 * height, 2 * width)
    return np.concatenate([middle - half, middle + half], axis=1)


@lru_cache(maxsize=4)
def anchors(strides: tuple[int, ...], per_cell: tuple[int, ...], size: tuple[int, int]) -> Array:
    """The centres (N, 2) as y, x in 0..1 of every cell of each grid, rows first, `per_cell` times each."""
    made = []
    for stride, count in zip(strides, per_cell, strict=True):
        rows, columns = size[0] // stride, size[1] // stride
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        made.append(np.repeat(np.stack([y.ravel(), x.ravel()], axis=1), count, axis=0))
    return np.concatenate(made) if made else np.zeros((0, 2))


def _non_max_suppression(boxes: Array, classes: Array, order: Array, spec: Postprocess) -> list[int]:
    """The indices of the boxes that remain: none overlaps a better one of its class by more than `max_iou`."""
    kept: list[int] = []
    while len(order) and len(kept) < spec.max_detections:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        same = classes[rest] == classes[best]
        order = rest[~(same & (iou(boxes[best], boxes[rest]) > spec.max_iou))]
    return kept


def _detection(index: int, score: float, box: Array) -> Detection:
    top, left, bottom, right = (float(n) for n in box)
    return Detection(index, score, (top, left, bottom, right))
