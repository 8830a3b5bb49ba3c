"""YOLO heads: rows of box, objectness and classes, or the grids before that, as boxes and scores. Knows no threshold.

Sources: Redmon and Farhadi, "YOLOv3", 2018 (`v3`); ultralytics' Detect of YOLOv5 and YOLOv8 (`v5`, `dfl`); Ge et al.,
"YOLOX", 2021 (`x`); Li et al., "Generalized Focal Loss", 2020 (distributions of distances).
"""

from collections.abc import Callable, Sequence

import numpy as np

from skerry_agent.processing.anchors import Size, grid
from skerry_agent.processing.arrays import Array
from skerry_agent.processing.boxes import corners
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.scores import activated, as_table, output_at, sigmoid, softmax
from skerry_agent.wire.postprocess import Postprocess

DFL_BINS = 16
_MAX_EXPONENT = 30.0


def from_yolo(outputs: Sequence[Array], spec: Postprocess, size: Size) -> tuple[Array, Array]:
    """Boxes (N, 4) as top, left, bottom, right in 0..1 of an input of `size`, and scores (N, classes)."""
    if spec.head != "decoded":
        return _from_grids(outputs, spec, size)
    first = output_at(outputs, spec.boxes)
    apart = len(outputs) > 1 and 4 in first.shape[1:] and spec.scores != spec.boxes
    table = as_table(first, "last" if apart and first.shape[-2] == 4 else spec.rows, f"output {spec.boxes}")
    if apart:
        second = output_at(outputs, spec.scores)
        table = np.concatenate([table, as_table(second, _like(second, len(table)), f"output {spec.scores}")], axis=1)
    table = _with_classes(table, spec.boxes).astype(np.float64)
    boxes = corners(table[:, :4], spec.format or "cxcywh") / _unit(spec, size)
    return boxes, _scores(activated(table[:, 4:], spec.activation), spec)


def _with_classes(table: Array, place: int) -> Array:
    if table.shape[1] < 4:
        raise ProcessingError(f"output {place} has {table.shape[1]} numbers a box, not 4 and at least one score")
    return table


def _like(output: Array, rows: int) -> str:
    """Which axis of the scores counts boxes: the one of as many."""
    return "last" if output.ndim == 3 and output.shape[-1] == rows != output.shape[-2] else "first"


def _unit(spec: Postprocess, size: Size) -> tuple[float, ...]:
    return (*size, *size) if spec.units == "pixels" else (1.0,)


def _scores(columns: Array, spec: Postprocess) -> Array:
    """The score of each class, from the columns after the box: with objectness, multiplied by it."""
    first = 1 if spec.objectness else 0
    count = spec.class_count or columns.shape[1] - first
    if count < 0 or columns.shape[1] < first + count or columns.shape[1] == 0:
        what = "objectness and " if spec.objectness else ""
        raise ProcessingError(
            f"output {spec.boxes} has {columns.shape[1]} columns after the box, not {what}{count or 1} classes"
        )
    if not count:
        return columns[:, :1]  # one class, which is the object
    classes = columns[:, first : first + count]
    return classes * columns[:, :1] if spec.objectness else classes


def _from_grids(outputs: Sequence[Array], spec: Postprocess, size: Size) -> tuple[Array, Array]:
    per_cell = [len(level) for level in spec.anchors] or [1] * len(spec.strides)
    if not spec.strides or len(per_cell) != len(spec.strides):
        raise ProcessingError(f"postprocess.head {spec.head!r} needs strides, and anchors for as many levels")
    made = []
    for level, rows in enumerate(_levels(outputs, spec, size, per_cell)):
        values = _with_classes(rows, spec.boxes).astype(np.float64)
        made.append(_HEADS[spec.head](values, spec, _Level(level, spec, size)))
    boxes = np.concatenate([boxes for boxes, _columns in made]) / (*size, *size)
    return boxes, _scores(np.concatenate([columns for _boxes, columns in made]), spec)


def _levels(outputs: Sequence[Array], spec: Postprocess, size: Size, per_cell: Sequence[int]) -> list[Array]:
    """The rows (cells * anchors, columns) of each level."""
    cells = [grid(stride, size) for stride in spec.strides]
    counts = [rows * columns * each for (rows, columns), each in zip(cells, per_cell, strict=True)]
    first = output_at(outputs, spec.boxes)
    if first.size and first.ndim <= 3 and sum(counts) in first.shape[1:]:  # all levels in one
        table = as_table(first, "first" if first.shape[1] == sum(counts) else "last", f"output {spec.boxes}")
        return np.split(table, np.cumsum(counts)[:-1])
    return [
        _rows(output_at(outputs, spec.boxes + level), cells[level], per_cell[level], spec.boxes + level)
        for level in range(len(cells))
    ]


def _rows(output: Array, cells: Size, per_cell: int, place: int) -> Array:
    """A grid as rows: cells row by row, the anchors of each one after the other."""
    shape = output.shape[1:]
    match len(shape):
        case 3 if shape[:2] == cells:
            table: Array = output.reshape(*cells, -1)
        case 3 if shape[1:] == cells:
            table = output.reshape(-1, *cells).transpose(1, 2, 0)
        case 4 if shape[:3] == (per_cell, *cells):
            table = output.reshape(per_cell, *cells, -1).transpose(1, 2, 0, 3)
        case 4 if shape[:3] == (*cells, per_cell):
            table = output.reshape(*cells, -1)
        case 2 if shape[0] == cells[0] * cells[1] * per_cell:
            return output.reshape(shape)
        case _:
            want = f"{cells[0]}x{cells[1]} cells with {per_cell} boxes each"
            raise ProcessingError(f"output {place} has shape {output.shape}, not that of {want}: check strides")
    if table.size % (cells[0] * cells[1] * per_cell):
        raise ProcessingError(f"output {place} of shape {output.shape} is not {per_cell} boxes a cell: check anchors")
    return table.reshape(cells[0] * cells[1] * per_cell, -1)


class _Level:
    """One grid: the corner of each row's cell (x, y) in cells, the stride, and each row's anchor (width, height)."""

    def __init__(self, level: int, spec: Postprocess, size: Size) -> None:
        rows, columns = grid(spec.strides[level], size)
        self.stride = spec.strides[level]
        sizes = spec.anchors[level] if spec.anchors else ((1.0, 1.0),)
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        self.corner = np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), len(sizes), axis=0)
        self.anchor = np.tile(np.array(sizes), (rows * columns, 1))


def _v5(rows: Array, spec: Postprocess, at: _Level) -> tuple[Array, Array]:
    values = sigmoid(rows) if spec.activation == "sigmoid" else rows
    centre = (values[:, :2] * 2 - 0.5 + at.corner) * at.stride
    sides = (values[:, 2:4] * 2) ** 2 * at.anchor
    return corners(np.concatenate([centre, sides], axis=1), "cxcywh"), values[:, 4:]


def _v3(rows: Array, spec: Postprocess, at: _Level) -> tuple[Array, Array]:
    values = sigmoid(rows) if spec.activation == "sigmoid" else rows
    centre = (values[:, :2] + at.corner) * at.stride
    sides = np.exp(np.minimum(rows[:, 2:4], _MAX_EXPONENT)) * at.anchor
    return corners(np.concatenate([centre, sides], axis=1), "cxcywh"), values[:, 4:]


def _x(rows: Array, spec: Postprocess, at: _Level) -> tuple[Array, Array]:
    centre = (rows[:, :2] + at.corner) * at.stride
    sides = np.exp(np.minimum(rows[:, 2:4], _MAX_EXPONENT)) * at.stride
    return corners(np.concatenate([centre, sides], axis=1), "cxcywh"), activated(rows[:, 4:], spec.activation)


def _ltrb(rows: Array, spec: Postprocess, at: _Level) -> tuple[Array, Array]:
    middle = at.corner + 0.5
    sides = np.concatenate([middle - rows[:, :2], middle + rows[:, 2:4]], axis=1) * at.stride
    return corners(sides, "xyxy"), activated(rows[:, 4:], spec.activation)


def _dfl(rows: Array, spec: Postprocess, at: _Level) -> tuple[Array, Array]:
    if rows.shape[1] <= 4 * DFL_BINS:
        raise ProcessingError(f"a row has {rows.shape[1]} columns, not {4 * DFL_BINS} of distances and the classes")
    spread = softmax(rows[:, : 4 * DFL_BINS].reshape(len(rows), 4, DFL_BINS))
    distances = spread @ np.arange(DFL_BINS)
    return _ltrb(np.concatenate([distances, rows[:, 4 * DFL_BINS :]], axis=1), spec, at)


_HEADS: dict[str, Callable[[Array, Postprocess, _Level], tuple[Array, Array]]] = {
    "v3": _v3,
    "v5": _v5,
    "x": _x,
    "dfl": _dfl,
    "ltrb": _ltrb,
}
