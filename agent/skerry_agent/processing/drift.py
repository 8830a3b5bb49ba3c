"""What is counted of inputs and answers, so that a device can tell whether they are still as they were. Pure numpy.

A build makes histograms of these values over its held-out samples, a device fills the same bins. How far apart two
histograms are is computed elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from skerry_agent.processing.answers import Embedding, Found, Numbers
from skerry_agent.processing.arrays import Array
from skerry_agent.processing.classes import Answer, ClassSet, Events
from skerry_agent.processing.detection import Detections
from skerry_agent.processing.masks import Mask
from skerry_agent.processing.points import Keypoints
from skerry_agent.processing.sequences import Symbols
from skerry_agent.wire.drift import MAX_BINS, MAX_HISTOGRAMS, DriftBaseline, Histogram

Values = dict[str, list[float]]
"""By name; those of classes are called `class`."""
CLASS = "class"
BINS = 10
MOST_CLASSES = 24
MOST_NUMBERS = 4
"""Of numbers that stand side by side, so many have a histogram of their own."""
_CHANNELS = {1, 3, 4}


def values_of_sample(sample: Sequence[Array]) -> Values:
    """Brightness and contrast of each input of a raw sample, and of images the brightness of each channel."""
    made: Values = {}
    for place, raw in enumerate(sample):
        name = "input" if len(sample) == 1 else f"input_{place}"
        real = raw.astype(np.float64)
        made[f"{name} mean"], made[f"{name} spread"] = [float(real.mean())], [float(real.std())]
        if real.ndim >= 3 and real.shape[-1] in _CHANNELS - {1}:
            means = real.reshape(-1, real.shape[-1]).mean(axis=0)
            made |= {f"{name} channel {at}": [float(mean)] for at, mean in enumerate(means)}
    return made


def values_of_answer(found: Found | None, outputs: Sequence[Array]) -> Values:
    """What an answer is like; of a task without answers, the mean and spread of its real-valued outputs."""
    if found is None:
        return {
            f"output_{at} {what}": [float(value)]
            for at, output in enumerate(outputs)
            for what, value in (("mean", output.mean()), ("spread", output.std()))
        }
    return _ANSWERS[type(found)](found)


def baseline_of(rows: Sequence[Values]) -> DriftBaseline | None:
    """Histograms of the values of all samples, a row each; None where there are none."""
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))[:MAX_HISTOGRAMS]
    pooled = {name: [value for row in rows for value in row.get(name, ())] for name in names}
    return DriftBaseline(len(rows), tuple(_histogram(name, values) for name, values in pooled.items()))


def counts_of(histogram: Histogram, values: Sequence[float]) -> tuple[int, ...]:
    """How many values fall into each bin of a histogram, one that is no number into the last."""
    if histogram.kind == "classes":
        places = {edge: at for at, edge in enumerate(histogram.edges)}
        bins = [places.get(value, len(histogram.edges)) for value in values]
    else:
        bins = np.searchsorted(histogram.edges, values, side="right").tolist()
    return tuple(np.bincount(np.asarray(bins, np.int64), minlength=len(histogram.edges) + 1).tolist())


def merged(counts: Mapping[str, tuple[int, ...]], baseline: DriftBaseline, row: Values) -> dict[str, tuple[int, ...]]:
    """Counts by the name of a histogram, with the values of one more sample."""
    made = dict(counts)
    for histogram in baseline.histograms:
        new = counts_of(histogram, row.get(histogram.name, ()))
        old = made.get(histogram.name, (0,) * len(new))
        made[histogram.name] = tuple(a + b for a, b in zip(old, new, strict=True))
    return made


def _histogram(name: str, values: Sequence[float]) -> Histogram:
    known = np.asarray([value for value in values if np.isfinite(value)])
    if name == CLASS:
        classes, counts = np.unique(known, return_counts=True)
        usual = np.sort(classes[np.argsort(-counts, kind="stable")[:MOST_CLASSES]])
        empty = Histogram(name, tuple(float(one) for one in usual), (), "classes")
    else:
        empty = Histogram(name, _edges(known), ())
    return Histogram(name, empty.edges, counts_of(empty, values), empty.kind)


def _edges(values: Array) -> tuple[float, ...]:
    """Ends between bins: between values where there are few, else so that bins hold as many each."""
    different = np.unique(values)
    if len(different) <= BINS:
        edges = (different[1:] + different[:-1]) / 2
    else:
        edges = np.quantile(values, np.arange(1, BINS) / BINS)
    rounded = sorted({float(f"{edge:.6g}") for edge in edges.tolist()})
    return tuple(rounded[: MAX_BINS - 1])


def _boxes(found: Detections) -> Values:
    areas = [(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in found.found]
    return {"boxes": [len(found.found)], **_each(found.found), "area": areas}


def _each(found: Sequence[Any]) -> Values:
    return {CLASS: [float(one.index) for one in found], "score": [one.score for one in found]}


def _mask(found: Mask) -> Values:
    shares = found.shares()
    return {CLASS: [float(one) for one in shares], "largest share": [max(shares.values())]}


def _points(found: Keypoints) -> Values:
    y, x = np.array([(point.y, point.x) for point in found.points]).T
    made: Values = {"height": [float(np.ptp(y))], "width": [float(np.ptp(x))]}
    return made if found.presence is None else {**made, "presence": [found.presence]}


_ANSWERS: dict[type, Callable[[Any], Values]] = {
    Answer: lambda found: _each([found]),
    ClassSet: lambda found: {"classes": [len(found.found)], **_each(found.found)},
    Detections: _boxes,
    Mask: _mask,
    Keypoints: _points,
    Numbers: lambda found: {f"number {at}": [value] for at, value in enumerate(found.values[:MOST_NUMBERS])},
    Embedding: lambda found: {f"number {at}": [value] for at, value in enumerate(found.vector[:MOST_NUMBERS])},
    Symbols: lambda found: {"length": [len(found.indices)], "score": [found.score]},
    Events: lambda found: {"events": [len(found.found)], **_each(found.found)},
}
