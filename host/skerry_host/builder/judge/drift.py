"""The drift baseline of a build: what inputs and answers were like over its held-out samples. Decides nothing."""

from collections.abc import Sequence

import numpy as np

from skerry_agent.processing import Array, Frame, decode
from skerry_agent.processing.drift import Values, baseline_of, values_of_answer, values_of_sample
from skerry_agent.wire import codec
from skerry_agent.wire.drift import DriftBaseline
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.tasks.base import Outputs, Size, one_sample, picture_preprocess
from skerry_host.builder.recipe.recipe import Recipe

SAMPLES = 512
"""Samples whose values make the histograms: a tenth of them lies between two edges, give or take a seventh."""
MOST_BYTES = 4000
"""Of the baseline in a manifest; what comes last goes where it is more."""


def drift_baseline(outputs: Outputs, samples: Samples, recipe: Recipe, size: Size) -> DriftBaseline | None:
    """Histograms of answers, from real-valued outputs (N, ...), and of inputs; `size` is the input's in pixels."""
    frame = Frame(size, picture_preprocess(recipe.feeding).layout == "nchw")
    rows = [_answered(one_sample(outputs, at), recipe, frame) for at in _spread(len(outputs[0]))]
    inputs = [values_of_sample(samples.inputs[at]) for at in _spread(len(samples))]
    answers, seen = baseline_of(rows), baseline_of(inputs)
    if answers is None or seen is None:
        return None
    return _bounded(DriftBaseline(min(answers.samples, seen.samples), (*answers.histograms, *seen.histograms)))


def _answered(real: list[Array], recipe: Recipe, frame: Frame) -> Values:
    return values_of_answer(decode(real, recipe.task, recipe.postprocess, frame), real)


def _spread(count: int) -> Sequence[int]:
    """So many places from all over a set."""
    places: Sequence[int] = np.unique(np.linspace(0, count - 1, min(count, SAMPLES)).astype(int)).tolist()
    return places


def _bounded(baseline: DriftBaseline) -> DriftBaseline:
    kept = baseline.histograms[:16]
    while len(kept) > 1 and len(codec.encode(DriftBaseline(baseline.samples, kept))) > MOST_BYTES:
        kept = kept[:-1]
    return DriftBaseline(baseline.samples, kept)
