"""Whether a model's answer is positive: it found something, or as a classifier saw another class than "nothing".

Answered from the raw outputs, without numpy and without making boxes: the best box of a class always survives what is
done with boxes, so there is one exactly if some score reaches `min_score`. What cannot be told so is not judged:
detectors with softmax (a score depends on all of its box), with scores in one output with boxes, with a class that
means nothing or with outputs in parts, scores of other types than 8 bits and float32, float scores of more than
`MAX_FLOATS`, and classifiers without a declared negative class. Large outputs are looked at once a second.
"""

import math
from collections.abc import Callable, Sequence
from time import monotonic

from msgspec.structs import replace

from skerry_agent.runner.classes import before_activation
from skerry_agent.runner.tensor import Tensor, argmax
from skerry_agent.wire.manifest import CLASSIFICATION, Bundle, Postprocess, TensorSpec

LARGE, MAX_FLOATS = 8_192, 262_144
"""Elements: more than the first are looked at once in `PAUSE_S`, floats beyond the second never."""
PAUSE_S = 1.0

Judge = Callable[[Sequence[Tensor], int], bool | None]
"""From outputs and the index of the largest one: positive, negative, or not judged."""


def judge_of(bundle: Bundle, clock: Callable[[], float] = monotonic) -> Judge | None:
    """How the answers of a bundle are judged; None where they cannot be."""
    if bundle.task == CLASSIFICATION:
        negative = bundle.baseline.negative if bundle.baseline is not None else None
        return None if negative is None else lambda _outputs, answer: answer != negative
    place = None if bundle.joins else _scores_of(bundle)
    if place is None or place >= len(bundle.outputs):
        return None
    spec = bundle.postprocess
    if bundle.task == "keypoints":
        spec = replace(spec, activation=spec.presence_activation)
    return _scored(spec, place, bundle.outputs[place], clock)


def _scores_of(bundle: Bundle) -> int | None:
    """The place of the output that holds nothing but scores, of which one that is sure makes an answer positive."""
    spec = bundle.postprocess
    match bundle.task:
        case "multilabel" | "events":
            return spec.output if spec.background is None else None
        case "keypoints":
            return spec.presence
        case "detection":
            apart = spec.decoder in {"ssd", "cells", "decoded", "boxes", "anchors"} and spec.boxes != spec.scores
            return spec.scores if apart and spec.background is None and spec.counts is None else None
    return None


def _scored(spec: Postprocess, place: int, scores: TensorSpec, clock: Callable[[], float]) -> Judge | None:
    """Compares the largest score, as the model gives it, with the least that counts."""
    size, whole = math.prod(scores.shape), scores.dtype in {"int8", "uint8"}
    if spec.activation == "softmax" or not (whole or (scores.dtype == "float32" and size <= MAX_FLOATS)):
        return None
    least = before_activation(spec)
    looked_at = -math.inf

    def judge(outputs: Sequence[Tensor], _answer: int) -> bool | None:
        nonlocal looked_at
        if size > LARGE:
            if clock() - looked_at < PAUSE_S:
                return None
            looked_at = clock()
        return size > 0 and _largest(outputs[place], scores) >= least

    return judge


def _largest(tensor: Tensor, spec: TensorSpec) -> float:
    """The largest real value of a tensor."""
    if tensor.dtype == "float32":
        return max(memoryview(tensor.data).cast("B").cast("f"))
    raw = memoryview(tensor.data).cast("B")[argmax(tensor)]
    value = raw - 256 if tensor.dtype == "int8" and raw > 127 else raw
    return (value - spec.zero_point) * spec.scale if spec.scale else float(value)
