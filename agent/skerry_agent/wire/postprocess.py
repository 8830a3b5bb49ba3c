"""How a model's outputs are read: the settings, of every task, that a manifest carries. Decodes nothing.

Agents of before know the decoders `ssd` and `decoded` and no key after `max_detections`. A release that they would
answer wrongly names another decoder, so that they refuse it; of a task that they do not know they give raw outputs.
"""

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

Place = Annotated[int, Meta(ge=0, le=255)]
"""A place among a model's outputs."""
Share = Annotated[float, Meta(ge=0, le=1)]
Side = Annotated[float, Meta(gt=0, le=100_000)]

Decoder = Literal["ssd", "decoded", "boxes", "yolo", "anchors", "cells", "classes"]
DETECTORS: Final = ("ssd", "decoded", "boxes", "yolo", "anchors", "cells")
TaskName = Literal[
    "classification",
    "multilabel",
    "detection",
    "segmentation",
    "keypoints",
    "regression",
    "embedding",
    "sequence",
    "events",
    "raw",
]
"""What the outputs of a model may mean; an agent takes a task that it does not know as raw."""
ANSWERED: Final = frozenset(get_args(TaskName)) - {"raw"}
"""Tasks of which a device reads an answer from the outputs."""


class Postprocess(Struct, frozen=True):
    """From a model's real-valued outputs to an answer; which keys count, the task and the decoder say.

    **Detection.** `boxes`, `scores` and `classes` are the places of these outputs; without `classes` the best score of
    a box gives its class. `decoder`:
    - `ssd`: centre and size in pixels of the input, relative to anchors in the middle of every cell of grids with
      `strides` pixels, `per_cell` of them (BlazeFace and others of MediaPipe). `cells`: the same, with keys that agents
      of before do not know.
    - `decoded`: top, left, bottom, right in 0..1, with a class for each in output `classes` (TFLite's own).
    - `boxes`: four numbers that mean what `format` and `units` say; `counts` is the place of the number of boxes that
      count. Where `scores` is the same output, they stand in its columns after the box: one for each class, or, where
      `classes` is that output, too, the score and the class.
    - `yolo`: a row (or column, `rows`) for each box: `format` (`cxcywh`) in `units`, with `objectness` a number for it,
      then a score for each class, of which there are `class_count` (0: all that is left). Where `head` is not
      `decoded`, outputs from `boxes` on are the grids before that, one for each of `strides`, or all of them in one:
      `v5` and `v3` with `anchors`, `x` (YOLOX) without; `dfl` (v8 and later) has distributions of the distances to
      the four sides, `ltrb` the distances themselves. With `v3` and `v5` all of a grid goes through `activation`.
    - `anchors`: relative to `anchors` (width, height in pixels, of every level), scaled by `variances` in the order of
      `format`: SSD and RetinaNet of TensorFlow and torchvision. Cell i of a level has its middle at i + `cell_offset`
      cells; a cell is a `stride`, or with `spread` = `grid` the input divided by the number of cells.
    `activation` makes scores of what the outputs hold, `background` is a class that means nothing (-1: the last). Boxes
    under `min_score` go, and with `nms` those that overlap a better one (of their class, or any: `agnostic`) by more
    than `max_iou` (intersection over union).

    **Classification.** With decoder `classes`: `output` has one score for each class but `background`; a single one is
    the probability of class 1, which is the answer from `min_score` on.
    **Multilabel, events.** `output` has a score for each class (of each frame); those from `min_score` on count.
    **Segmentation.** `output` is a map of scores for each class, or one of class 1, or with `indices` of classes.
    **Keypoints.** `output` has a point in each row, with what `columns` says (x, y, s: score, -: ignored) in `units`;
    or with `heatmaps` a map for each point, with `offsets` the place of vectors in pixels. `presence` is the place of
    a score for all of them, after `presence_activation`.
    **Regression.** Numbers of `unit`. **Sequence.** `output` has scores of each symbol at each time (`rows`: of which
    axis times are); `blank` is the one between symbols (-1: the last).
    """

    decoder: Decoder = "decoded"
    boxes: Place = 0
    scores: Place = 1
    classes: Place | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    strides: Annotated[tuple[Annotated[int, Meta(gt=0)], ...], Meta(max_length=64)] = ()
    per_cell: Annotated[tuple[Annotated[int, Meta(gt=0)], ...], Meta(max_length=64)] = ()
    min_score: Share = 0.5
    max_iou: Share = 0.3
    max_detections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    format: Literal["", "yxyx", "xyxy", "cxcywh", "cycxhw", "xywh"] = ""
    units: Literal["share", "pixels", "signed"] = "share"
    counts: Place | None = None
    objectness: bool = False
    head: Literal["decoded", "v3", "v5", "x", "dfl", "ltrb"] = "decoded"
    class_count: Annotated[int, Meta(ge=0)] = 0
    rows: Literal["", "first", "last"] = ""
    anchors: Annotated[
        tuple[Annotated[tuple[tuple[Side, Side], ...], Meta(max_length=64)], ...], Meta(max_length=16)
    ] = ()
    variances: Annotated[tuple[Side, ...], Meta(max_length=4)] = ()
    cell_offset: Share = 0.5
    spread: Literal["stride", "grid"] = "stride"
    background: Annotated[int, Meta(ge=-1)] | None = None
    nms: Literal["class", "agnostic", "none"] = "class"
    output: Place = 0
    indices: bool = False
    columns: Annotated[str, Meta(max_length=16, pattern="^[xys-]*$")] = ""
    heatmaps: bool = False
    offsets: Place | None = None
    presence: Place | None = None
    presence_activation: Literal["none", "sigmoid"] = "none"
    unit: Annotated[str, Meta(max_length=32)] = ""
    blank: Annotated[int, Meta(ge=-1)] = 0
