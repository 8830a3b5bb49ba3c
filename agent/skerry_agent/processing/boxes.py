"""Boxes: their forms, how far two overlap, and which of many remain. Knows no model and no score."""

from collections.abc import Callable

import numpy as np

from skerry_agent.processing.arrays import Array


def iou(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) with others (N, 4), all (top, left, bottom, right)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both
    result: Array = np.divide(both, union, out=np.zeros(len(others)), where=union > 0)
    return result


def suppress(boxes: Array, groups: Array | None, order: Array, max_iou: float, most: int) -> list[int]:
    """The indices of at most `most` boxes (N, 4) that remain, taken in `order`: none overlaps one before it.

    More than `max_iou` is too much, of boxes with the same group (N,); None: of any.
    """
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        near = iou(boxes[best], boxes[rest]) > max_iou
        order = rest[~(near if groups is None else near & (groups[rest] == groups[best]))]
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
