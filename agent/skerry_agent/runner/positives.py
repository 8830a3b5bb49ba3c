"""Whether a model's answer is positive: it found something, or as a classifier saw another class than "nothing".

Answered from the raw outputs, without numpy and without making boxes: the best box of a class always survives what is
done with boxes, so there is one exactly if some score reaches `min_score`. What cannot be told so is not judged:
detectors with softmax (a score depends on all of its box), scores that `score_parts` does not find, of other types than
8 bits and float32, float scores of more than `MAX_FLOATS`, and classifiers without a declared negative class. Large
outputs are looked at once a second.
"""

import math
from collections.abc import Callable, Sequence
from time import monotonic

from msgspec.structs import replace

from skerry_agent.runner.classes import before_activation
from skerry_agent.runner.score_parts import ScorePart, score_parts
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
    parts, spec = score_parts(bundle), bundle.postprocess
    if bundle.task not in {"detection", "multilabel", "events", "keypoints"} or not parts:
        return None
    if bundle.task == "keypoints":
        spec = replace(spec, activation=spec.presence_activation)
    return _scored(spec, parts, clock)


def _scored(spec: Postprocess, parts: Sequence[ScorePart], clock: Callable[[], float]) -> Judge | None:
    """Compares the largest score, as the model gives it, with the least that counts."""
    size = sum(part.count for part in parts)
    floats = any(part.spec.dtype == "float32" for part in parts)
    known = {part.spec.dtype for part in parts} <= {"int8", "uint8", "float32"}
    if spec.activation == "softmax" or not known or (floats and size > MAX_FLOATS):
        return None
    least = before_activation(spec)
    looked_at = -math.inf

    def judge(outputs: Sequence[Tensor], _answer: int) -> bool | None:
        nonlocal looked_at
        if size > LARGE:
            if clock() - looked_at < PAUSE_S:
                return None
            looked_at = clock()
        return size > 0 and any(_largest(part.of(outputs[part.place]), part.spec) >= least for part in parts)

    return judge


def _largest(tensor: Tensor, spec: TensorSpec) -> float:
    """The largest real value of a tensor."""
    if tensor.dtype == "float32":
        return max(memoryview(tensor.data).cast("B").cast("f"))
    raw = memoryview(tensor.data).cast("B")[argmax(tensor)]
    value = raw - 256 if tensor.dtype == "int8" and raw > 127 else raw
    return (value - spec.zero_point) * spec.scale if spec.scale else float(value)
