"""Average precision of boxes by COCO's rules: 101 points of recall, ten overlaps, crowds ignored, bounded detections.

Source: pycocotools' COCOeval, which a test holds this to. Areas are not told apart. Knows no model.
"""

from dataclasses import dataclass

import numpy as np

from skerry_agent.processing import Array

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Detections of one class in one sample that count, the best ones."""
_EPSILON = np.spacing(1.0)


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """Detections of one class in all samples, best first: of which sample, and at each overlap whether they are right.

    `hits` and `ignored` are (overlaps, n); `there` (N,) counts the objects of each sample.
    """

    sample: Array
    hits: Array
    ignored: Array
    there: Array


def match_all(found: list[Array], truth: list[Array]) -> dict[int, ClassMatches]:
    """Match detections, rows of class, score, top, left, bottom, right, with objects, of each sample.

    Objects are rows of class, top, left, bottom, right, and 1 where they are a crowd, if there is a sixth column.
    Only classes that have an object count.
    """
    classes = sorted({int(one) for rows in truth for one in _own(rows)[:, 0]})
    return {one: _matched(one, found, truth) for one in classes}


def mean_average_precision(matches: dict[int, ClassMatches], weights: Array) -> Array:
    """The mean over classes at each overlap (10,); `weights` (N,) say how often each sample counts. NaN without any."""
    each = [average_precisions(one, weights) for one in matches.values()]
    known = [values for values in each if values is not None]
    return np.mean(known, axis=0) if known else np.full(len(OVERLAPS), np.nan)


def average_precisions(matches: ClassMatches, weights: Array) -> Array | None:
    """The average precision of one class at each overlap (10,); None where no object counts."""
    total = float((matches.there * weights).sum())
    if not total:
        return None
    counts = weights[matches.sample]
    right = np.cumsum(matches.hits * ~matches.ignored * counts, axis=1)
    wrong = np.cumsum(~matches.hits * ~matches.ignored * counts, axis=1)
    recall, precision = right / total, right / (right + wrong + _EPSILON)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.array([_sampled(*rows) for rows in zip(recall, precision, strict=True)])


def _sampled(recall: Array, precision: Array) -> float:
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[at].mean())


def _own(rows: Array) -> Array:
    """Objects that are no crowd."""
    return rows[rows[:, 5] == 0] if rows.shape[1] > 5 else rows


def _matched(one: int, found: list[Array], truth: list[Array]) -> ClassMatches:
    samples, scores, hits, ignored = [np.zeros(0, np.int64)], [np.zeros(0)], [], []
    for at, (detections, objects) in enumerate(zip(found, truth, strict=True)):
        mine, wanted = detections[detections[:, 0] == one], objects[objects[:, 0] == one]
        best = mine[np.argsort(-mine[:, 1], kind="stable")[:MOST]]
        hit, spared = _match(best[:, 2:6], wanted)
        samples.append(np.full(len(best), at))
        scores.append(best[:, 1])
        hits.append(hit)
        ignored.append(spared)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    there = np.array([(_own(objects)[:, 0] == one).sum() for objects in truth])
    return ClassMatches(
        np.concatenate(samples)[order],
        np.concatenate(hits, axis=1)[:, order],
        np.concatenate(ignored, axis=1)[:, order],
        there,
    )


def _match(boxes: Array, objects: Array) -> tuple[Array, Array]:
    """Which boxes are right, and which are of a crowd, at each overlap (10, n): the best first, each takes one object.

    Of equally near objects the last one is taken, and one of its own before a crowd, as COCOeval does.
    """
    crowd = objects[:, 5] > 0 if objects.shape[1] > 5 else np.zeros(len(objects), bool)
    order = np.argsort(crowd, kind="stable")
    objects, crowd = objects[order], crowd[order]
    near = overlaps(boxes, objects[:, 1:5], crowd)
    hits = np.zeros((len(OVERLAPS), len(boxes)), bool)
    ignored = np.zeros_like(hits)
    nearest = near.max(axis=1, initial=0.0)
    for level, least in enumerate(OVERLAPS):
        taken = np.zeros(len(objects), bool)
        for at in np.flatnonzero(nearest >= min(float(least), 1 - 1e-10)):
            place = _nearest(near[at], (taken & ~crowd, crowd), min(float(least), 1 - 1e-10))
            if place is not None:
                taken[place], hits[level, at], ignored[level, at] = True, True, crowd[place]
    return hits, ignored


def _nearest(near: Array, state: tuple[Array, Array], least: float) -> int | None:
    taken, crowd = state
    for kind in (~taken & ~crowd, crowd):
        able = np.flatnonzero(kind & (near >= least))
        if len(able):
            return int(able[len(able) - 1 - np.argmax(near[able][::-1])])
    return None


def overlaps(boxes: Array, objects: Array, crowd: Array) -> Array:
    """Intersection over union of boxes (n, 4) with objects (m, 4); with a crowd over the box alone."""
    low = np.maximum(boxes[:, np.newaxis, :2], objects[np.newaxis, :, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], objects[np.newaxis, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    own, other = ((part[:, 2:] - part[:, :2]).prod(axis=1) for part in (boxes, objects))
    union = np.where(crowd, own[:, np.newaxis], own[:, np.newaxis] + other - both)
    result: Array = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
    return result
