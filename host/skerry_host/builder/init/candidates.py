"""How samples may become a model's input: what people train with, tried on labelled samples with the float model.

The sample's labels decide, not a convention: of several that are as good, the most usual one is taken. Needs no labels
for tables and for models whose input is raw already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import Samples

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Of blue, green and red, as Caffe's models subtract them."""


POOR, POOR_OTHERWISE = 0.5, 0.1
"""Shares of right answers, and of other figures (mAP, mIoU), under which something is wrong."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A preprocessing, and what people call it."""

    words: str
    prep: Preprocess


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate with its figure on the tried samples, and the model's first output (N, values).

    `value` is larger where the figure is better, `shown` is the figure for people; `poor`: something must be wrong.
    """

    candidate: Candidate
    value: float
    answers: Array
    shown: str
    poor: bool = False


Try = Callable[[Candidate], Trial]
"""Runs the float model with a preprocessing."""


def scales(base: Preprocess, channels: int) -> list[Candidate]:
    """Of image values 0 to 255, the most usual first."""
    made = [
        Candidate("values in 0..1", replace(base, scale=1 / 255)),
        Candidate("values in -1..1", replace(base, scale=1 / 127.5, offset=-1.0)),
    ]
    if channels == 3:
        made.append(
            Candidate(
                "ImageNet's mean and deviation",
                replace(base, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            )
        )
    made.append(Candidate("values as they are", base))
    if channels == 3:
        made.append(Candidate("Caffe's means, in BGR", replace(base, mean=CAFFE_MEAN, color="bgr")))
    return made


def sounds(base: Preprocess) -> list[Candidate]:
    """Of sound as int16."""
    return [
        Candidate("values in -1..1", replace(base, scale=1 / 32768)),
        Candidate("values as they are", base),
    ]


def raw_values(base: Preprocess, tensor: TensorSpec) -> Preprocess:
    """What makes a sample in uint8 the raw value of a quantized input; of int8 ones 128 less."""
    scale = tensor.scale or 1.0
    shift = tensor.zero_point + (128 if tensor.dtype == "int8" else 0)
    return replace(base, scale=scale, offset=-shift * scale)


def variants(best: Candidate, channels: int, resized: bool) -> list[Candidate]:
    """Of the best one, the other order of colours, and the other ways to fit an image."""
    made = []
    if channels == 3:
        other = "bgr" if best.prep.color == "rgb" else "rgb"
        turned = replace(best.prep, color=other, mean=best.prep.mean[::-1], std=best.prep.std[::-1])
        made.append(Candidate(f"{best.words}, in {other.upper()}", turned))
    if resized:
        made += [
            Candidate(f"{best.words}, {way}", replace(best.prep, resize=way))
            for way in ("stretch", "crop", "letterbox")
            if way != best.prep.resize
        ]
    return made


def best_of(candidates: Sequence[Candidate], attempt: Try) -> list[Trial]:
    """All of them, the best first; of equal ones the one that came first."""
    return sorted(map(attempt, candidates), key=lambda trial: -trial.value)


def by_order(trials: Sequence[Trial], truth: Array, order: dict[int, int]) -> list[Trial]:
    """The trials, the best first; with an order of classes each has the figure that it has by that."""
    if order:
        rights = [share_right(one.answers, truth, order) for one in trials]
        trials = [
            Trial(one.candidate, right, one.answers, f"top1 {right:.1%}", right < POOR)
            for one, right in zip(trials, rights, strict=True)
        ]
    return sorted(trials, key=lambda trial: -trial.value)


def outputs_of_classes(answers: Array, truth: Array) -> dict[int, int] | None:
    """Which output answers each class most often, if it is another for each of them; None where it is not so.

    `answers` (N, outputs), `truth` (N,). A model whose outputs stand in another order than the folders shows it.
    """
    chosen = answers.argmax(axis=1)
    found = {int(kind): int(np.bincount(chosen[truth == kind]).argmax()) for kind in np.unique(truth)}
    return found if len(set(found.values())) == len(found) else None


def placed(names: Sequence[str], order: Mapping[int, int]) -> tuple[str, ...]:
    """The names in the order of the outputs; an output that no class was found for is called by its number."""
    if not order:
        return ()
    at = {output: names[kind] for kind, output in order.items()}
    return tuple(at.get(place, f"class {place}") for place in range(len(names)))


def share_right(answers: Array, truth: Array, order: dict[int, int]) -> float:
    """How often the output of a class, by `order`, is the largest."""
    wanted = np.array([order[int(kind)] for kind in truth])
    return float((answers.argmax(axis=1) == wanted).mean())


def features(base: Preprocess, samples: Samples) -> list[Candidate]:
    """Of numbers in a table: as they are, or with the mean and deviation of each column taken out."""
    values = np.stack([sample[0] for sample in samples]).astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    most = float(np.abs(values).max())
    made = [Candidate("values as they are", base)]
    if most > 1:
        made.append(Candidate(f"values divided by {most:g}, the largest", replace(base, scale=1 / most)))
    if values.ndim > 2:
        return made
    spread = tuple(float(one) if one > 0 else 1.0 for one in deviation)
    standard = replace(base, mean=tuple(mean.tolist()), std=spread)
    return [*made, Candidate("each column's mean and deviation taken out", standard)]
