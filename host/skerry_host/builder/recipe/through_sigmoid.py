"""Which outputs of a model are only ever read through a sigmoid, and how far it tells numbers apart. Pure.

MediaPipe's detectors answer -9000 where nothing is, and 3 where a face is: a range that holds both leaves no step for
what lies between -5 and 5. Their own decoders cut such logits off, too (score_clipping_thresh).
"""

from collections.abc import Sequence
from math import exp, prod

from skerry_host.builder.recipe.recipe import Task

SATURATED = 8.0
"""From here on a sigmoid is 0 or 1 to 3.4 parts in 10,000, less than half a step of the 8 bits that LOGISTIC writes."""
SATURATED_WIDE = 12.0
"""The same for 16 bits: half a step of what LOGISTIC writes then is reached at 11.1."""
_SURE = 1 / (1 + exp(-(SATURATED - 1)))
"""A score that is decided on lies well before the end of the range: 0.99909."""
_APART = {"ssd", "cells", "anchors", "boxes"}
"""Decoders of detectors whose scores are an output of their own."""


def through_sigmoid(task: Task, shapes: Sequence[tuple[int, ...]]) -> frozenset[int]:
    """The places of these outputs, given the shape of each, whose first axis is of samples.

    Not those of several classes of which the largest is the answer: where two are over the limit they would be equal.
    None where `min_score` is so near to 0 or 1 that the end of the range would decide.
    """
    spec = task.postprocess
    if not 1 - _SURE <= spec.min_score <= _SURE:
        return frozenset()
    places = set[int]()
    if spec.activation == "sigmoid":
        places = _by_activation(task, shapes)
    if task.name == "keypoints" and spec.presence is not None and spec.presence_activation == "sigmoid":
        places.add(spec.presence)
    return frozenset(place for place in places if place < len(shapes))


def _by_activation(task: Task, shapes: Sequence[tuple[int, ...]]) -> set[int]:
    spec = task.postprocess
    if task.name == "detection":
        single = spec.scores < len(shapes) and shapes[spec.scores][-1:] == (1,)
        return {spec.scores} if spec.decoder in _APART and spec.scores != spec.boxes and single else set()
    if task.name in {"multilabel", "events"}:
        return {spec.output}
    if task.name == "segmentation" and not spec.indices:
        return {spec.output} if spec.output < len(shapes) and _one_map(shapes[spec.output]) else set()
    if task.name == "classification":
        return {spec.output} if spec.output < len(shapes) and prod(shapes[spec.output][1:]) == 1 else set()
    return set()


def _one_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or shape[-1:] == (1,) or shape[1:2] == (1,)
