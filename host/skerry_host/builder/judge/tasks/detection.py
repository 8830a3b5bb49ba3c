"""Detection: boxes, decoded by the device's own code. A detector that finds no box at all is refused."""

from collections.abc import Iterator

import numpy as np

from skerry_agent.processing import Array, Detections, ProcessingError, iou, postprocess
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.judge.tasks.base import Case, Measure, Outputs, TaskRules, share
from skerry_host.builder.recipe.errors import RecipeError

SAME_BOX = 0.5
"""Intersection over union above which two boxes are of the same thing (PASCAL VOC)."""
NOTHING = -1
"""In place of a class where there is no box."""


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """How many samples have the same boxes: each one of its class at its place on the other side, and no more."""
    pairs = zip(_found(outputs, case), _found(reference, case), strict=True)
    return share("same boxes", np.array([_match(got, wanted) for got, wanted in pairs]))


def require(outputs: Outputs, case: Case) -> None:
    """Boxes that are none, or in no sample, agree with anything: raises `RecipeError` (postprocess)."""
    if not seen(outputs, case):
        raise _unfit(f"the model detects no box above min_score in any of {len(outputs[0])} samples")


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether a detector sees a box in any sample; raises `RecipeError` (postprocess) when it is no such detector."""
    try:
        return any(boxes.found for boxes in _found(outputs, case))
    except ProcessingError as error:
        raise _unfit(f"it does not fit the model: {error.message}") from None


def best(outputs: Outputs, case: Case) -> Array:
    """The class of each sample's best box (N,), `NOTHING` where it has none."""
    return np.array([boxes.found[0].index if boxes.found else NOTHING for boxes in _found(outputs, case)])


def _unfit(issue: str) -> RecipeError:
    hint = "check its keys against the model's outputs, and that the samples show what the model detects"
    return RecipeError("[postprocess]", [issue], hint=hint, code="postprocess")


def _found(outputs: Outputs, case: Case) -> Iterator[Detections]:
    """The boxes in each sample."""
    for at in range(len(outputs[0])):
        parts = [output[at : at + 1] for output in outputs]
        specs = [TensorSpec("", "float32", part.shape) for part in parts]
        found = postprocess(parts, specs, case.meaning.name, case.meaning.postprocess, case.view.size)
        assert isinstance(found, Detections)
        yield found


def _match(got: Detections, wanted: Detections) -> bool:
    left = list(got.found)
    for want in wanted.found:
        overlaps = [iou(np.array(want.box), np.array([other.box]))[0] * (other.index == want.index) for other in left]
        if not overlaps or max(overlaps) < SAME_BOX:
            return False
        left.pop(int(np.argmax(overlaps)))
    return not left


RULES = TaskRules(agree, agreement="same boxes", require=require, seen=seen)
