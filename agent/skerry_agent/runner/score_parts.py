"""Where a model's scores are among its outputs, so that the largest can be found without numpy and without boxes.

Whole outputs of scores, the columns of scores in rows of YOLO, and the parts of such rows that have a scale of their
own. What is no plain score (objectness times class, beside a class that means nothing) is not found.
"""

import math

from msgspec import Struct

from skerry_agent.runner.joined import joined_spec
from skerry_agent.runner.tensor import FORMATS, Tensor
from skerry_agent.wire.manifest import Bundle, Join, TensorSpec
from skerry_agent.wire.postprocess import Postprocess

_WIDTHS = {"int8": 1, "uint8": 1, "float32": 4}
BOX = 4
"""Columns of a box; scores begin after them."""


class ScorePart(Struct, frozen=True):
    """Scores in output `place`: all of it, or `columns` of each of its rows of `row` elements."""

    place: int
    spec: TensorSpec
    columns: tuple[int, int] | None = None
    row: int = 0

    def of(self, tensor: Tensor) -> Tensor:
        """The scores alone."""
        if self.columns is None:
            return tensor
        width, (first, last) = _WIDTHS[tensor.dtype], self.columns
        data = memoryview(tensor.data).cast("B")
        step, start, stop = self.row * width, first * width, last * width
        rows = [data[at + start : at + stop] for at in range(0, len(data), step)]
        return Tensor(tensor.dtype, (len(rows), last - first), rows[0] if len(rows) == 1 else b"".join(rows))

    @property
    def count(self) -> int:
        """How many scores there are."""
        elements = math.prod(self.spec.shape)
        return elements if self.columns is None else elements // self.row * (self.columns[1] - self.columns[0])


def score_parts(bundle: Bundle) -> list[ScorePart]:
    """Where the scores are; nothing where that is not known."""
    spec, outputs = bundle.postprocess, bundle.outputs
    if spec.background is not None or (bundle.task == "detection" and spec.decoder == "yolo"):
        return _of_rows(bundle) if spec.background is None else []
    place = None if bundle.joins else _whole(bundle.task, spec)
    return [ScorePart(place, outputs[place])] if place is not None and place < len(outputs) else []


def _whole(task: str, spec: Postprocess) -> int | None:
    """The place of the output that holds nothing but scores."""
    match task:
        case "multilabel" | "events":
            return spec.output
        case "keypoints":
            return spec.presence
        case "detection" if spec.boxes != spec.scores and spec.counts is None:
            return spec.scores
    return None


def _of_rows(bundle: Bundle) -> list[ScorePart]:
    """The scores in rows of YOLO, in one output or in parts of one."""
    spec, outputs = bundle.postprocess, bundle.outputs
    if spec.head != "decoded" or spec.objectness or spec.boxes:
        return []
    if len(bundle.joins) == 1 and len(bundle.joins[0].parts) == len(outputs):
        return _of_parts(bundle.joins[0], spec, outputs)
    if len(outputs) != 1 or bundle.joins or len(outputs[0].shape) != 3 or outputs[0].dtype not in FORMATS:
        return []
    shape = outputs[0].shape
    turned = _columns_first(shape, spec)
    rows, columns = (shape[2], shape[1]) if turned else (shape[1], shape[2])
    last = BOX + (spec.class_count or columns - BOX)
    if not BOX < last <= columns:
        return []
    if turned:  # all of one column, then all of the next: the scores are in one piece
        return [ScorePart(0, outputs[0], (BOX * rows, last * rows), rows * columns)]
    return [ScorePart(0, outputs[0], (BOX, last), columns)]


def _of_parts(join: Join, spec: Postprocess, outputs: tuple[TensorSpec, ...]) -> list[ScorePart]:
    """The parts behind the box, where one begins just there."""
    whole = joined_spec(outputs, join).shape
    if len(whole) != 3 or join.axis != (1 if _columns_first(whole, spec) else 2):
        return []
    last, at, found = BOX + (spec.class_count or whole[join.axis] - BOX), 0, []
    for part in join.parts:
        end = at + outputs[part].shape[join.axis]
        if at >= BOX and end <= last:
            found.append((at, end, ScorePart(part, outputs[part])))
        at = end
    complete = bool(found) and found[0][0] == BOX and found[-1][1] == last
    return [part for _start, _end, part in found] if complete else []


def _columns_first(shape: tuple[int, ...], spec: Postprocess) -> bool:
    return spec.rows == "last" or (not spec.rows and shape[1] < shape[2])
