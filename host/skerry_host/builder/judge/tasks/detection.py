"""Detection: boxes, decoded by the device's own code, measured by COCO's rules. One that finds none is refused."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np

from skerry_agent.processing import Array, Detections, overlaps
from skerry_host.builder.judge.tasks.average_precision import OVERLAPS, match_all, mean_average_precision
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    TaskRules,
    Truth,
    answers,
    figure,
    pooled,
    unfit,
)
from skerry_host.builder.judge.tasks.ranking import f1

METRIC, AGREEMENT = "mAP@.5:.95", "matched boxes"
SAME_BOX = 0.5
"""Intersection over union above which two boxes are of the same thing (PASCAL VOC)."""
LEAST_SCORE = 0.01
"""Average precision is of all scores: boxes that are this sure count, though a device drops them."""
NOTHING = -1
"""In place of a class where there is no box."""


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """The mean average precision at ten overlaps; beside it what the device's own threshold gives."""
    wanted = [np.asarray(one, np.float64) for one in truth]
    every_box = [_rows(found) for found in _found(outputs, _for_precision(case))]
    matches = match_all(every_box, wanted)

    def over(chosen: Array) -> float:
        return _mean(mean_average_precision(matches, np.bincount(chosen, minlength=len(wanted))))

    every = np.ones(len(wanted))
    spec = case.meaning.postprocess  # the best ones are kept whatever worse ones there are
    counts = _counts([rows[rows[:, 1] >= spec.min_score][: spec.max_detections] for rows in every_box], wanted)
    hits, said, there = counts.sum(axis=0)
    figures = (
        figure("mAP@.5", _mean(mean_average_precision(matches, every)[OVERLAPS == 0.5])),
        figure("F1 at min_score", float(f1(hits, said, there))),
        figure("recall at min_score", float(hits / there) if there else 1.0),
    )
    return pooled(METRIC, over, len(wanted), figures=figures)


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """F1 of the boxes where the float model's are right: of one class, with an overlap over a half."""
    wanted = [np.delete(_rows(found), 1, axis=1) for found in _found(reference, case)]
    counts = _counts([_rows(found) for found in _found(outputs, case)], wanted)
    return pooled(AGREEMENT, lambda chosen: float(f1(*counts[chosen].sum(axis=0))), len(wanted))


def require(outputs: Outputs, case: Case) -> None:
    """Boxes that are none, or in no sample, agree with anything: raises `RecipeError` (postprocess)."""
    if not seen(outputs, case):
        raise unfit(f"the model detects no box above min_score in any of {len(outputs[0])} samples")


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether a detector sees a box in any sample; raises `RecipeError` (postprocess) when it is no such detector."""
    return any(boxes.found for boxes in _found(outputs, case))


def best(outputs: Outputs, case: Case) -> Array:
    """The class of each sample's best box (N,), `NOTHING` where it has none."""
    return np.array([boxes.found[0].index if boxes.found else NOTHING for boxes in _found(outputs, case)])


def classes(outputs: Outputs, case: Case) -> Classes:
    """The classes of each sample's boxes."""
    return [frozenset(box.index for box in boxes.found) for boxes in _found(outputs, case)]


def truth_classes(truth: Truth) -> Classes:
    """The classes of the objects of each sample."""
    return [frozenset(int(one) for one in np.asarray(rows)[:, 0]) for rows in truth]


def _for_precision(case: Case) -> Case:
    """The same decoding with hardly any threshold."""
    spec = case.meaning.postprocess
    wide = msgspec.structs.replace(
        spec, min_score=min(spec.min_score, LEAST_SCORE), max_detections=max(spec.max_detections, 100)
    )
    return replace(case, meaning=msgspec.structs.replace(case.meaning, postprocess=wide))


def _found(outputs: Outputs, case: Case) -> Iterator[Detections]:
    """The boxes in each sample."""
    yield from answers(outputs, case)


def _rows(found: Detections) -> Array:
    """Class, score, top, left, bottom, right of each box (M, 6)."""
    return np.array([(one.index, one.score, *one.box) for one in found.found], np.float64).reshape(-1, 6)


def _counts(found: list[Array], truth: list[Array]) -> Array:
    """Of each sample the boxes that are right, that were said, and that there are (N, 3)."""
    return np.array([_counted(one, other) for one, other in zip(found, truth, strict=True)]).reshape(-1, 3)


def _counted(found: Array, truth: Array) -> tuple[int, int, int]:
    """The best box first, each takes the object of its class that it overlaps most; a crowd counts for nothing."""
    own = truth[truth[:, 5] == 0] if truth.shape[1] > 5 else truth
    left, hits = np.ones(len(own), bool), 0
    overlap = overlaps(found[:, 2:6], own[:, 1:5]) * (own[:, 0] == found[:, :1])
    for row in overlap:
        near = row * left
        if len(near) and near.max() >= SAME_BOX:
            left[int(near.argmax())], hits = False, hits + 1
    return hits, len(found), len(own)


def _mean(values: Array) -> float:
    return float(np.nan_to_num(np.mean(values))) if len(values) else 0.0


RULES = TaskRules(
    agree,
    judge,
    agreement=AGREEMENT,
    one_by_one=False,
    by_sample=False,
    require=require,
    seen=seen,
    classes=classes,
    truth_classes=truth_classes,
)
