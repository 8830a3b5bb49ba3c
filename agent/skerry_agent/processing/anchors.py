"""Boxes that a model gives relative to anchors on grids, made absolute. Knows no score."""

from functools import lru_cache

import numpy as np

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.boxes import corners
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.wire.postprocess import Postprocess

Size = tuple[int, int]
Levels = tuple[tuple[tuple[float, float], ...], ...]
_MAX_EXPONENT = 30.0
"""e to this power is farther than any image: a wild value gives a huge box, not infinity."""


def from_cells(boxes: Array, spec: Postprocess, size: Size) -> Array:
    """Centre x, y, width, height in pixels, relative to the middles of cells, as (top, left, bottom, right) in 0..1."""
    centres = anchors(spec.strides, spec.per_cell, size)
    if len(centres) != len(boxes):
        raise ProcessingError(f"the model gives {len(boxes)} boxes, strides and per_cell make {len(centres)} anchors")
    height, width = size
    middle = boxes[:, 1::-1] / (height, width) + centres
    half = boxes[:, 3:1:-1] / (2 * height, 2 * width)
    return np.concatenate([middle - half, middle + half], axis=1)


@lru_cache(maxsize=4)
def anchors(strides: tuple[int, ...], per_cell: tuple[int, ...], size: Size) -> Array:
    """The centres (N, 2) as y, x in 0..1 of every cell of each grid, rows first, `per_cell` times each."""
    made = []
    for stride, count in zip(strides, per_cell, strict=True):
        rows, columns = size[0] // stride, size[1] // stride
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        made.append(np.repeat(np.stack([y.ravel(), x.ravel()], axis=1), count, axis=0))
    return np.concatenate(made) if made else np.zeros((0, 2))


def from_anchors(boxes: Array, spec: Postprocess, size: Size) -> Array:
    """Differences to anchors with a size of their own as (top, left, bottom, right) in 0..1.

    Centres move by so many anchors, sizes change by powers of e (Ren et al., "Faster R-CNN", 2015), each scaled by its
    variance.
    """
    known = sized_anchors(spec.strides, spec.anchors, size, (spec.cell_offset, spec.spread))
    if len(known) != len(boxes):
        raise ProcessingError(f"the model gives {len(boxes)} boxes, strides and anchors make {len(known)}")
    moved = boxes * (spec.variances or (1.0,)) if len(spec.variances) in {0, 4} else None
    if moved is None:
        raise ProcessingError(f"postprocess.variances has {len(spec.variances)} numbers, not 4")
    y, x, h, w = (1, 0, 3, 2) if spec.format != "cycxhw" else (0, 1, 2, 3)
    cy, cx = (known[:, axis] + moved[:, at] * known[:, axis + 2] for axis, at in ((0, y), (1, x)))
    height, width = (
        known[:, axis] * np.exp(np.clip(moved[:, at], -_MAX_EXPONENT, _MAX_EXPONENT)) for axis, at in ((2, h), (3, w))
    )
    pixels = corners(np.stack([cy, cx, height, width], axis=1), "cycxhw")
    result: Array = pixels / (*size, *size)
    return result


@lru_cache(maxsize=4)
def sized_anchors(strides: tuple[int, ...], levels: Levels, size: Size, spread: tuple[float, str]) -> Array:
    """Centre y, x, height and width in pixels (N, 4) of every anchor: level by level, rows first, in their order."""
    if len(strides) != len(levels):
        raise ProcessingError(f"postprocess has {len(strides)} strides, but anchors of {len(levels)} levels")
    offset, kind = spread
    made = [np.zeros((0, 4))]
    for stride, sizes in zip(strides, levels, strict=True):
        cells = grid(stride, size)
        steps = [limit / n if kind == "grid" else stride for limit, n in zip(size, cells, strict=True)]
        y, x = np.meshgrid(
            *((np.arange(n) + offset) * step for n, step in zip(cells, steps, strict=True)), indexing="ij"
        )
        centres = np.repeat(np.stack([y.ravel(), x.ravel()], axis=1), len(sizes), axis=0)
        each = np.tile([(h, w) for w, h in sizes], (cells[0] * cells[1], 1)).reshape(-1, 2)
        made.append(np.concatenate([centres, each], axis=1))
    return np.concatenate(made)


def grid(stride: int, size: Size) -> Size:
    """Rows and columns of cells of a `stride` that cover an input."""
    return -(-size[0] // stride), -(-size[1] // stride)
