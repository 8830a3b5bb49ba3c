"""Decodes a detector's real-valued outputs to boxes, in 0..1 of the sample. Knows no quantization and no runtime."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.anchors import Size, from_anchors, from_cells
from skerry_agent.processing.arrays import Array
from skerry_agent.processing.boxes import corners, suppress
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.image import Placement
from skerry_agent.processing.scores import activated, output_at, without_background
from skerry_agent.processing.yolo import from_yolo
from skerry_agent.wire.postprocess import Postprocess


class Detection(Struct, frozen=True):
    """One detected object: its class, its score, and its box (top, left, bottom, right) in 0..1 of the sample."""

    index: int
    score: float
    box: tuple[float, float, float, float]


class Detections(Struct, frozen=True):
    """The detections in one sample, the highest score first."""

    found: tuple[Detection, ...]


class _Candidates(Struct, frozen=True, eq=False):
    """Boxes (N, 4) as top, left, bottom, right in 0..1 of the input, their classes (N,) and scores (N,)."""

    boxes: Array
    classes: Array
    scores: Array


def detect(outputs: Sequence[Array], spec: Postprocess, size: Size) -> Detections:
    """The boxes in 0..1 of an input of `size` (height, width). Raises `ProcessingError` when outputs do not fit."""
    if spec.decoder not in _DECODERS:
        raise ProcessingError(f"postprocess.decoder is {spec.decoder!r}, a detector's are {', '.join(_DECODERS)}")
    there = _DECODERS[spec.decoder](outputs, spec, size)
    sure = np.flatnonzero(there.scores >= spec.min_score)
    order = sure[np.argsort(-there.scores[sure], kind="stable")]
    if spec.nms == "none":
        kept = order[: spec.max_detections].tolist()
    else:
        groups = there.classes if spec.nms == "class" else None
        kept = suppress(there.boxes, groups, order, spec.max_iou, spec.max_detections)
    return Detections(tuple(_detection(int(there.classes[i]), float(there.scores[i]), there.boxes[i]) for i in kept))


def to_sample(found: Detections, at: Placement, size: Size) -> Detections:
    """Boxes of an input of `size` as boxes of the sample that lies in it at a place."""
    scale = np.array([size[0] / at.height, size[1] / at.width] * 2)
    shift = np.array([at.top / size[0], at.left / size[1]] * 2)
    return Detections(tuple(_detection(d.index, d.score, (np.array(d.box) - shift) * scale) for d in found.found))


def _ssd(outputs: Sequence[Array], spec: Postprocess, size: Size) -> _Candidates:
    boxes, scores = _outputs(outputs, spec)
    return _best(outputs, spec, from_cells(boxes, spec, size), scores)


def _decoded(outputs: Sequence[Array], spec: Postprocess, _size: Size) -> _Candidates:
    boxes, scores = _outputs(outputs, spec)
    return _best(outputs, spec, boxes, scores)


def _anchors(outputs: Sequence[Array], spec: Postprocess, size: Size) -> _Candidates:
    boxes, scores = _outputs(outputs, spec)
    return _best(outputs, spec, from_anchors(boxes, spec, size), scores)


def _yolo(outputs: Sequence[Array], spec: Postprocess, size: Size) -> _Candidates:
    boxes, scores = from_yolo(outputs, spec, size)
    return _best((), spec, boxes, scores)


def _boxes(outputs: Sequence[Array], spec: Postprocess, size: Size) -> _Candidates:
    """Boxes in whatever form, with scores beside them or in the same rows."""
    if spec.scores == spec.boxes:
        return _packed(outputs, spec, size)
    raw, scores = _outputs(outputs, spec)
    found = _best(outputs, spec, _placed(raw, spec, size), scores)
    if spec.counts is None:
        return found
    valid = int(np.clip(output_at(outputs, spec.counts).reshape(-1)[:1].sum(), 0, len(raw)))
    return _Candidates(found.boxes[:valid], found.classes[:valid], found.scores[:valid])


def _packed(outputs: Sequence[Array], spec: Postprocess, size: Size) -> _Candidates:
    """Rows of box and scores, or of box, score and class."""
    raw = output_at(outputs, spec.boxes)
    columns = raw.shape[-1] if raw.ndim > 1 else 0
    if columns < (6 if spec.classes is not None else 5):
        raise ProcessingError(f"output {spec.boxes} has {columns} numbers a box, its shape is {raw.shape}")
    rows = raw.reshape(-1, columns).astype(np.float64)
    boxes = _placed(rows[:, :4], spec, size)
    if spec.classes is None:
        return _best((), spec, boxes, activated(rows[:, 4:], spec.activation))
    return _Candidates(boxes, rows[:, 5].astype(np.int64), activated(rows[:, 4:5], spec.activation)[:, 0])


def _placed(boxes: Array, spec: Postprocess, size: Size) -> Array:
    """Boxes (N, 4) as top, left, bottom, right in 0..1."""
    made: Array = corners(boxes, spec.format or "yxyx") / ((*size, *size) if spec.units == "pixels" else (1.0,))
    return made


def _best(outputs: Sequence[Array], spec: Postprocess, boxes: Array, scores: Array) -> _Candidates:
    """The class of each box: of its best score (N, classes), or as an output says."""
    if spec.classes is None or spec.decoder == "yolo":
        scores = without_background(scores, spec.background)
        classes = scores.argmax(axis=1)
        return _Candidates(boxes, classes, scores[np.arange(len(scores)), classes])
    return _Candidates(boxes, outputs[spec.classes].reshape(-1).astype(np.int64), scores.reshape(-1))


_DECODERS: dict[str, Callable[[Sequence[Array], Postprocess, Size], _Candidates]] = {
    "ssd": _ssd,
    "cells": _ssd,
    "decoded": _decoded,
    "boxes": _boxes,
    "yolo": _yolo,
    "anchors": _anchors,
}


def _outputs(outputs: Sequence[Array], spec: Postprocess) -> tuple[Array, Array]:
    """Boxes (N, 4) and scores (N, classes) after the activation."""
    output_at(outputs, max(spec.boxes, spec.scores, spec.classes or 0))
    raw = outputs[spec.boxes]
    count = raw.size // (raw.shape[-1] or 1)
    if raw.ndim < 2 or raw.shape[-1] < 4:
        raise ProcessingError(f"output {spec.boxes} does not have 4 numbers per box, its shape is {raw.shape}")
    for place in (spec.scores, *([] if spec.classes is None else [spec.classes])):
        if count == 0 or outputs[place].size % count:
            raise ProcessingError(f"output {place} has {outputs[place].size} values for {count} boxes")
    boxes = raw.reshape(-1, raw.shape[-1])[:, :4].astype(np.float64)
    return boxes, activated(outputs[spec.scores].reshape(len(boxes), -1), spec.activation)


def _detection(index: int, score: float, box: Array) -> Detection:
    top, left, bottom, right = (float(n) for n in box)
    return Detection(index, score, (top, left, bottom, right))
