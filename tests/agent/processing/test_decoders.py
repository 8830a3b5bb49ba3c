"""Heads as frameworks export them, each made from the same boxes, lead back to these boxes."""

import numpy as np
import pytest

from skerry_agent.processing import Frame, ProcessingError, decode
from skerry_agent.processing.anchors import sized_anchors
from skerry_agent.wire.postprocess import Postprocess

SIZE = (64, 96)
FRAME = Frame(SIZE)
BOXES = np.array([[8.0, 16.0, 24.0, 48.0], [30.0, 50.0, 62.0, 90.0]])
"""Top, left, bottom, right in pixels."""
CLASSES = [2, 0]
SHARES = BOXES / (*SIZE, *SIZE)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def found(outputs, spec: Postprocess):
    answer = decode([np.asarray(one, np.float32) for one in outputs], "detection", spec, FRAME)
    assert answer is not None
    return answer.found


def assert_boxes(outputs, spec: Postprocess) -> None:
    there = sorted(found(outputs, spec), key=lambda one: one.box)
    assert [one.index for one in there] == CLASSES
    np.testing.assert_allclose([one.box for one in there], SHARES, atol=2e-3)
    assert all(one.score == pytest.approx(0.9, abs=0.02) for one in there)


def table(boxes, extra: int = 6, objectness: bool = False) -> np.ndarray:
    """Rows of box, (objectness,) and three scores: the two boxes among others that nobody is sure of."""
    rows = np.zeros((len(boxes) + extra, 4 + objectness + 3))
    rows[: len(boxes), :4] = boxes
    rows[range(len(boxes)), np.array(CLASSES) + 4 + objectness] = 0.9
    if objectness:
        rows[: len(boxes), 4] = 1.0
    return rows


def centres(boxes) -> np.ndarray:
    top, left, bottom, right = boxes.T
    return np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1)


def xyxy(boxes) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


ROWS = {
    "v8, columns first, pixels": (table(centres(BOXES)).T[None], Postprocess("yolo", units="pixels")),
    "v8, rows first, shares": (table(centres(SHARES))[None], Postprocess("yolo")),
    "v5 with objectness": (table(centres(SHARES), objectness=True)[None], Postprocess("yolo", objectness=True)),
    "corners": (table(xyxy(BOXES))[None], Postprocess("yolo", format="xyxy", units="pixels")),
    "more columns than classes (poses, masks)": (
        np.concatenate([table(centres(BOXES), 60), np.full((62, 32), 7.0)], axis=1).T[None],
        Postprocess("yolo", units="pixels", class_count=3),
    ),
    "rows of box, score and class": (
        np.column_stack([xyxy(BOXES), [0.9, 0.9], CLASSES])[None],
        Postprocess("boxes", scores=0, classes=0, format="xyxy", units="pixels", nms="none"),
    ),
    "fewer boxes than columns, said by the recipe": (
        table(centres(BOXES), 0).T[None],
        Postprocess("yolo", units="pixels", rows="last"),
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_of_boxes_and_scores(case: str):
    output, spec = ROWS[case]
    assert_boxes([output], spec)


def test_boxes_and_scores_in_two_outputs():
    rows = table(centres(BOXES))
    spec = Postprocess("yolo", units="pixels")
    assert_boxes([rows[:, :4].T[None], rows[:, 4:].T[None]], spec)
    assert_boxes([rows[None, :, :4], rows[None, :, 4:]], spec)


STRIDES, ANCHORS = (8, 16), (((10.0, 12.0), (30.0, 14.0)), ((40.0, 30.0), (60.0, 60.0)))


def grids(encode, anchors=None, columns: int = 8) -> list[np.ndarray]:
    """Grids (rows, columns, anchors, values) with the first box on the first level, the second on the other.

    `encode` gives the values of a box: centre and size in pixels, the corner of its cell, stride and anchor.
    """
    made = []
    for level, stride in enumerate(STRIDES):
        rows, across = SIZE[0] // stride, SIZE[1] // stride
        count = len(anchors[level]) if anchors else 1
        grid = np.full((rows, across, count, columns), -20.0)
        grid[..., :4] = 0.0
        x, y, width, height = centres(BOXES)[level]
        i, j = int(y // stride), int(x // stride)
        own = anchors[level][count - 1] if anchors else (1.0, 1.0)
        grid[i, j, count - 1] = encode((x, y, width, height), (j, i), stride, own, CLASSES[level])
        made.append(grid)
    return made


def scores(index: int, objectness: bool = True) -> list[float]:
    values = [-20.0] * 3
    values[index] = logit(0.9)
    return [20.0, *values] if objectness else values


def v5(box, cell, stride, anchor, index):
    centre = [logit((box[k] / stride - cell[k] + 0.5) / 2) for k in (0, 1)]
    return [*centre, *(logit(np.sqrt(box[2 + k] / anchor[k]) / 2) for k in (0, 1)), *scores(index)]


def v3(box, cell, stride, anchor, index):
    centre = [logit(min(max(box[k] / stride - cell[k], 1e-6), 1 - 1e-6)) for k in (0, 1)]
    return [*centre, *(np.log(box[2 + k] / anchor[k]) for k in (0, 1)), *scores(index)]


def x(box, cell, stride, _anchor, index):
    return [
        *(box[k] / stride - cell[k] for k in (0, 1)),
        *(np.log(box[2 + k] / stride) for k in (0, 1)),
        *scores(index),
    ]


def ltrb(box, cell, stride, _anchor, index):
    middle = [(cell[k] + 0.5) * stride for k in (0, 1)]
    sides = [middle[k] - (box[k] - box[2 + k] / 2) for k in (0, 1)] + [
        box[k] + box[2 + k] / 2 - middle[k] for k in (0, 1)
    ]
    return [*(side / stride for side in sides), *scores(index, objectness=False)]


def dfl(box, cell, stride, anchor, index):
    values = ltrb(box, cell, stride, anchor, index)
    spread = np.full((4, 16), -20.0)
    for side, distance in enumerate(values[:4]):
        low = int(distance)
        spread[side, low], spread[side, low + 1] = np.log(1 - distance + low + 1e-9), np.log(distance - low + 1e-9)
    return [*spread.reshape(-1), *values[4:]]


HEADS = {
    "v5": (v5, ANCHORS, 8),
    "v3": (v3, ANCHORS, 8),
    "x": (x, None, 8),
    "ltrb": (ltrb, None, 7),
    "dfl": (dfl, None, 67),
}
LAYOUTS = {
    "cells, then all of a cell": lambda g: g.reshape(1, *g.shape[:2], -1),
    "planes": lambda g: g.reshape(*g.shape[:2], -1).transpose(2, 0, 1)[None],
    "anchors first": lambda g: g.transpose(2, 0, 1, 3)[None],
    "rows": lambda g: g.reshape(1, -1, g.shape[-1]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("head", HEADS)
def test_grids_before_they_are_decoded(head: str, layout: str):
    encode, anchors, columns = HEADS[head]
    spec = Postprocess(
        "yolo", head=head, strides=STRIDES, anchors=anchors or (), objectness=columns == 8, activation="sigmoid"
    )
    made = grids(encode, anchors, columns)
    assert_boxes([LAYOUTS[layout](grid) for grid in made], spec)
    together = np.concatenate([LAYOUTS["rows"](grid) for grid in made], axis=1)
    assert_boxes([together], spec)
    assert_boxes([together.transpose(0, 2, 1)], spec)


LEVELS = (((16.0, 16.0), (32.0, 16.0)), ((48.0, 32.0),))


@pytest.mark.parametrize("form", ["cxcywh", "cycxhw"])
@pytest.mark.parametrize("background", [None, 0, -1])
def test_differences_to_anchors(form: str, background: int | None):
    spec = Postprocess(
        "anchors",
        format=form,
        strides=(16, 32),
        anchors=LEVELS,
        variances=(0.1, 0.1, 0.2, 0.2),
        background=background,
        activation="sigmoid",
    )
    known = sized_anchors(spec.strides, spec.anchors, SIZE, (0.5, "stride"))
    boxes, given = np.zeros((1, len(known), 4)), np.full((1, len(known), 3 + (background is not None)), -20.0)
    for (x_, y_, width, height), index in zip(centres(BOXES), CLASSES, strict=True):
        nearest = int(np.abs(known - [y_, x_, height, width]).sum(axis=1).argmin())
        cy, cx, h, w = known[nearest]
        moved = [(x_ - cx) / w / 0.1, (y_ - cy) / h / 0.1, np.log(width / w) / 0.2, np.log(height / h) / 0.2]
        boxes[0, nearest] = moved if form == "cxcywh" else [moved[1], moved[0], moved[3], moved[2]]
        given[0, nearest, index + (background == 0)] = logit(0.9)
    if background is not None:
        given[0, :, background] = -19.0
    assert_boxes([boxes, given], spec)


def test_boxes_beyond_their_number_are_none():
    boxes = np.concatenate([SHARES, SHARES * 0.5])[None]
    outputs = [boxes, [[2.0, 0.0, 1.0, 1.0]], [[0.9, 0.9, 0.9, 0.9]], [2.0]]
    assert_boxes(outputs, Postprocess("boxes", classes=1, scores=2, counts=3))


def test_a_transformer_has_a_class_for_nothing_and_no_overlaps():
    given = np.full((1, 5, 4), 0.0)
    given[0, :, 3] = 9.0
    for row, index in enumerate(CLASSES):
        given[0, row] = np.log([0.1 / 3 + 1e-9] * 4)
        given[0, row, index] = np.log(0.9)
    boxes = np.zeros((1, 5, 4))
    boxes[0, :2] = centres(SHARES)
    spec = Postprocess("boxes", format="cxcywh", activation="softmax", background=-1, nms="none")
    assert_boxes([boxes, given], spec)


def test_overlaps_are_of_a_class_of_any_or_nobodys():
    rows = np.array([[0, 0, 1, 1, 0.9, 0.0], [0, 0, 0.9, 1, 0.0, 0.8]])[None]
    counts = {nms: len(found([rows], Postprocess("boxes", scores=0, nms=nms))) for nms in ("class", "agnostic", "none")}
    assert counts == {"class": 2, "agnostic": 1, "none": 2}


UNFIT = {
    "no strides": ([np.zeros((1, 8, 12, 8))], Postprocess("yolo", head="v5"), "needs strides"),
    "another grid": (
        [np.zeros((1, 5, 5, 16))],
        Postprocess("yolo", head="v5", strides=(8,), anchors=ANCHORS[:1]),
        r"shape \(1, 5, 5, 16\), not that of 8x12 cells with 2 boxes each",
    ),
    "no classes": ([np.zeros((1, 20, 4))], Postprocess("yolo"), "0 columns after the box"),
    "too few columns": ([np.zeros((1, 20, 6))], Postprocess("yolo", class_count=5), "2 columns after the box, not 5"),
    "other anchors": (
        [np.zeros((1, 9, 4)), np.zeros((1, 9, 3))],
        Postprocess("anchors", strides=(16,), anchors=LEVELS[:1]),
        "gives 9 boxes, strides and anchors make 48",
    ),
    "two variances": (
        [np.zeros((1, 48, 4)), np.zeros((1, 48, 3))],
        Postprocess("anchors", strides=(16,), anchors=LEVELS[:1], variances=(0.1, 0.2)),
        "2 numbers, not 4",
    ),
    "a missing output": ([np.zeros((1, 9, 4))], Postprocess("boxes"), "has 1 outputs, postprocess names output 1"),
    "a background beyond": (
        [np.zeros((1, 9, 4)), np.zeros((1, 9, 3))],
        Postprocess("boxes", background=7),
        "background is class 7, the output has 3 classes",
    ),
    "a decoder of another task": ([np.zeros((1, 9, 4))], Postprocess("classes"), "a detector's are ssd, cells"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_settings_that_do_not_fit_the_outputs_are_named(case: str):
    outputs, spec, message = UNFIT[case]
    with pytest.raises(ProcessingError, match=message):
        found(outputs, spec)


@pytest.mark.parametrize("head", ["decoded", "v3", "v5", "x", "ltrb"])
def test_rows_that_are_too_short_for_a_box_are_refused_in_one_line(head):
    """A recipe of another model's head, or its wrong output: numpy's IndexError before."""
    spec = Postprocess("yolo", head=head, strides=(32,), anchors=(((8, 8),),) if head in {"v3", "v5"} else ())
    with pytest.raises(ProcessingError, match="has 3 numbers a box, not 4 and at least one score"):
        found([np.zeros((1, 6, 3))], spec)
