"""Keypoints: measured by how many points are near where they should be, beside the size of what they belong to.

Near is within 5 % of the longer side of the box around all points of the sample: a fixed number of pixels would be much
for a small face and little for a large one.
"""

from dataclasses import replace

import numpy as np

from skerry_agent.processing import Array, Keypoints
from skerry_host.builder.judge.tasks.base import (
    Case,
    Classes,
    Measure,
    Outputs,
    Size,
    TaskRules,
    Truth,
    answers,
    figure,
    pooled,
    unfit,
)

NEAR = 0.05
TOLERANCE = 0.1
"""A probability may be quantized a little beyond 0..1."""
METRIC, AGREEMENT = "PCK@.05", "same points"


def judge(outputs: Outputs, truth: Truth, case: Case) -> Measure:
    """The share of visible points that are near."""
    wanted = [np.asarray(one, np.float64) for one in truth]
    got = [_table(found) for found in answers(outputs, case)]
    if got and got[0].shape[0] != wanted[0].shape[0]:
        raise unfit(f"the model gives {got[0].shape[0]} points, the samples have {wanted[0].shape[0]}")
    return _measured(METRIC, got, wanted, _shapes(case, len(got)))


def agree(outputs: Outputs, reference: Outputs, case: Case) -> Measure:
    """The share of points that are near the float model's, in samples where it sees anything."""
    least = case.meaning.postprocess.min_score
    found = list(answers(reference, case))
    there = np.array([_is_there(one, least) for one in found])
    wanted = [_table(one) for one in found]
    for table, present in zip(wanted, there, strict=True):
        table[:, 2] = 1.0 if present or not there.any() else 0.0
    answered = list(answers(outputs, case))
    measured = _measured(AGREEMENT, [_table(one) for one in answered], wanted, _shapes(case, len(found)))
    if case.meaning.postprocess.presence is None:
        return measured
    same = float(np.mean([_is_there(one, least) == present for one, present in zip(answered, there, strict=True)]))
    return replace(measured, figures=(*measured.figures, figure("same presence", same)))


def seen(outputs: Outputs, case: Case) -> bool:
    """Whether the model says in any sample that there is something."""
    return any(_is_there(found, case.meaning.postprocess.min_score) for found in answers(outputs, case))


def require(outputs: Outputs, case: Case) -> None:
    """Refuse points of things that are not there."""
    if not seen(outputs, case):
        raise unfit(f"presence: the model sees nothing in any of {len(outputs[0])} samples")


def classes(outputs: Outputs, case: Case) -> Classes:
    """0 where there is something."""
    least = case.meaning.postprocess.min_score
    return [frozenset({0} if _is_there(found, least) else ()) for found in answers(outputs, case)]


def _is_there(found: Keypoints, least: float) -> bool:
    if found.presence is not None and not -TOLERANCE <= found.presence <= 1 + TOLERANCE:
        issue = f"presence: output says {found.presence:.2f}, which is no probability but a logit"
        raise unfit(issue, 'set presence_activation = "sigmoid"')
    return found.presence is None or found.presence >= least


def _table(found: Keypoints) -> Array:
    """y, x and 1 (visible) of each point (K, 3)."""
    return np.array([(point.y, point.x, 1.0) for point in found.points])


def _shapes(case: Case, count: int) -> list[Size]:
    """Height and width that 0..1 stands for, of each sample."""
    sizes = case.view.samples
    return [sizes[at] if len(sizes) else case.view.size for at in range(count)]


def _measured(metric: str, got: list[Array], wanted: list[Array], shapes: list[Size]) -> Measure:
    """Near points and points of each sample, and the mean distance."""
    near, points, off = np.zeros(len(got)), np.zeros(len(got)), np.zeros(len(got))
    for at, (one, other, shape) in enumerate(zip(got, wanted, shapes, strict=True)):
        visible = other[:, 2] > 0
        if not visible.any():
            continue
        scale = np.array(shape)
        places = other[visible, :2] * scale
        extent = float(np.ptp(places, axis=0).max()) or float(scale.max())
        distances = np.linalg.norm(one[visible, :2] * scale - places, axis=1) / extent
        distances = np.nan_to_num(distances, nan=np.inf)
        near[at], points[at] = (distances <= NEAR).sum(), visible.sum()
        off[at] = np.minimum(distances, 1.0).sum()
    error = float(off.sum() / max(1.0, points.sum()))
    return pooled(
        metric,
        lambda chosen: float(near[chosen].sum() / max(1.0, points[chosen].sum())),
        len(got),
        figures=(figure("mean distance", error, "lower"),),
    )


RULES = TaskRules(
    agree, judge, agreement=AGREEMENT, one_by_one=False, by_sample=False, require=require, seen=seen, classes=classes
)
