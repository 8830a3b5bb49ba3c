"""Boxes: their forms, how far two overlap, and which of many remain. Knows no model and no score."""

from collections.abc import Callable

import numpy as np

from skerry_agent.processing.arrays import Array

FEW = 64
"""Boxes of which it is faster to compare all pairs at once than one after the other."""


def iou(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) with others (N, 4), all (top, left, bottom, right)."""
    result: Array = overlaps(box[np.newaxis], others)[0]
    return result


def overlaps(boxes: Array, others: Array) -> Array:
    """The same of each of some boxes (M, 4) with each of others (N, 4), as (M, N)."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    size = np.maximum(np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:]) - low, 0)
    both = size[..., 0] * size[..., 1]
    union = _areas(boxes)[:, np.newaxis] + _areas(others) - both
    result: Array = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
    return result


def _areas(boxes: Array) -> Array:
    sides = boxes[:, 2:] - boxes[:, :2]
    areas: Array = sides[:, 0] * sides[:, 1]
    return areas


def suppress(boxes: Array, groups: Array | None, order: Array, max_iou: float, most: int) -> list[int]:
    """The indices of at most `most` boxes (N, 4) that remain, taken in `order`: none overlaps one before it.

    More than `max_iou` is too much, of boxes with the same group (N,); None: of any.
    """
    if len(order) <= FEW:
        return _suppress_few(boxes[order], None if groups is None else groups[order], order, (max_iou, most))
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        near = iou(boxes[best], boxes[rest]) > max_iou
        order = rest[~(near if groups is None else near & (groups[rest] == groups[best]))]
    return kept


def _suppress_few(boxes: Array, groups: Array | None, order: Array, limits: tuple[float, int]) -> list[int]:
    """The same of boxes (N, 4) in their order, of which every pair is looked at at once."""
    max_iou, most = limits
    near = overlaps(boxes, boxes) > max_iou
    if groups is not None:
        near &= groups[:, np.newaxis] == groups
    kept: list[int] = []
    left = np.ones(len(order), bool)
    for at, place in enumerate(order.tolist()):
        if left[at] and len(kept) < most:
            kept.append(place)
            left &= ~near[at]
    return kept


def corners(boxes: Array, form: str) -> Array:
    """Boxes (N, 4) of one form as (top, left, bottom, right), in the same units."""
    return _FORMS[form](boxes)


def _from_centre(y: Array, x: Array, height: Array, width: Array) -> Array:
    return np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=1)


_FORMS: dict[str, Callable[[Array], Array]] = {
    "yxyx": lambda b: b,
    "xyxy": lambda b: b[:, [1, 0, 3, 2]],
    "xywh": lambda b: np.stack([b[:, 1], b[:, 0], b[:, 1] + b[:, 3], b[:, 0] + b[:, 2]], axis=1),
    "cxcywh": lambda b: _from_centre(b[:, 1], b[:, 0], b[:, 3], b[:, 2]),
    "cycxhw": lambda b: _from_centre(b[:, 0], b[:, 1], b[:, 2], b[:, 3]),
}
