"""Tries with the float model how samples become its input, and in which order its outputs are. Writes nothing.

What is tried is tried on calibration samples, so that the evaluation stays fair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.init import guesses
from skerry_host.builder.init.candidates import (
    POOR,
    POOR_OTHERWISE,
    Candidate,
    Trial,
    best_of,
    by_order,
    features,
    outputs_of_classes,
    placed,
    raw_values,
    scales,
    share_right,
    sounds,
    variants,
)
from skerry_host.builder.init.choices import Choice
from skerry_host.builder.init.guesses import DataFacts
from skerry_host.builder.judge.evaluate import evaluate
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import LoadedRecipe
from skerry_host.builder.sources.load import SourceModel

TRIED, TRIED_LARGE = 200, 50
"""Samples that a preprocessing is tried on, and of inputs with more values than `LARGE`."""
LARGE = 200_000
HARDLY_WORSE = 0.02
"""By how much a less usual preprocessing must be better."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A recipe on the disk, with the model and the data that it names."""

    loaded: LoadedRecipe
    source: SourceModel
    data: DataSet
    tensor: TensorSpec


@dataclass(frozen=True, slots=True)
class Tried:
    """The tried preprocessings, the best first, the keys that it gives, and the order of classes if it is another."""

    trials: Sequence[Trial] = ()
    choices: Sequence[Choice] = ()
    order: tuple[str, ...] = ()


def try_out(draft: Draft, data: DataFacts, names: Sequence[str], progress: Progress) -> Tried:
    """What can be found out by running the float model on labelled samples."""
    start = draft.loaded.recipe.preprocess
    if draft.source.quantized:
        why = "the model is quantized: its inputs are raw values"
        prep = raw_values(start, draft.tensor)
        offset = [Choice("preprocess", "offset", prep.offset)] if prep.offset else []
        return Tried(choices=[Choice("preprocess", "scale", prep.scale, why, guess=True), *offset])
    image = guesses.layout_of(draft.tensor) != "" and draft.data.calibration.inputs[0][0].dtype == np.uint8
    channels = draft.tensor.shape[1 if start.layout == "nchw" else -1]
    found = _candidates(draft, data, start, image, channels)
    if not found:
        return Tried()
    if draft.data.calibration.truth is None:
        return Tried(choices=_untried(found[0]))
    samples = _some(draft)

    def attempt(candidate: Candidate) -> Trial:
        return _figure(draft, candidate, samples)

    progress(f"trying {len(found)} preprocessings with the float model")
    trials = best_of(found, attempt)
    usual = sorted(trials, key=lambda trial: found.index(trial.candidate))
    order = _order(draft, usual, samples.classes, len(names))
    if image:
        best = by_order(trials, samples.classes, order)[0]
        trials += best_of(variants(best.candidate, channels, start.resize != "none"), attempt)
    trials = by_order(trials, samples.classes, order)
    best = _most_usual(trials, found)
    trials = [best, *(trial for trial in trials if trial is not best)]
    return Tried(trials, _keys(trials, start, len(samples)), placed(names, order))


def _candidates(draft: Draft, data: DataFacts, start: Preprocess, image: bool, channels: int) -> list[Candidate]:
    if image:
        return scales(start, channels)
    if data.format == "wav":
        return sounds(start)
    if data.format == "csv":
        return features(start, draft.data.calibration)
    return []


def _untried(usual: Candidate) -> list[Choice]:
    why = f"{usual.words} are usual; without labels nothing could be tried"
    ask = "how were values scaled in training? See [preprocess] in docs/recipe.md"
    return [Choice("preprocess", "scale", usual.prep.scale, why, guess=True, ask=ask)]


def _most_usual(trials: Sequence[Trial], found: Sequence[Candidate]) -> Trial:
    """The best, or a more usual one that is hardly worse: the tried samples are few."""
    order = [candidate.words for candidate in found]
    least = trials[0].value - HARDLY_WORSE * abs(trials[0].value)
    close = [trial for trial in trials if trial.value >= least and trial.candidate.words in order]
    return min(close, key=lambda trial: order.index(trial.candidate.words)) if close else trials[0]


def _keys(trials: Sequence[Trial], start: Preprocess, count: int) -> list[Choice]:
    """What the best one sets, with the figures of all in the reason of the first key."""
    best = trials[0].candidate.prep
    others = ", ".join(f"{trial.candidate.words} {trial.shown}" for trial in trials[1:4])
    why = f"{trials[0].candidate.words}: {trials[0].shown} on {count} calibration samples with the float model"
    why += f"; {others}" if others else ""
    changed = [
        name
        for name in Preprocess.__struct_fields__
        if getattr(best, name) != getattr(Preprocess(), name) and getattr(best, name) != getattr(start, name)
    ]
    first = changed[0] if changed else "scale"
    ask = f"the float model reaches only {trials[0].shown}: are samples and labels those of its training?"
    keys = [Choice("preprocess", first, getattr(best, first), why, True, ask if trials[0].poor else "")]
    return keys + [Choice("preprocess", name, getattr(best, name)) for name in changed if name != first]


def _some(draft: Draft) -> Samples:
    """The samples that are tried, from all over the calibration set."""
    large = guesses.value_count(draft.tensor) > LARGE
    samples = draft.data.calibration
    return samples.every(max(1, len(samples) // (TRIED_LARGE if large else TRIED)))


def _figure(draft: Draft, candidate: Candidate, samples: Samples) -> Trial:
    """The metric of the float model with a preprocessing."""
    recipe = msgspec.structs.replace(draft.loaded.recipe, preprocess=candidate.prep, inputs={})
    recipe = recipe.for_inputs(draft.source.graph.input_specs())
    score = evaluate(draft.source.data, samples, recipe.feeding, recipe.meaning)
    first = next(iter(score.outputs.values()))
    shown = f"{score.value:.4g} {score.unit}" if score.unit else f"{score.value:.1%}"
    value = score.value if score.better == "higher" else -score.value
    poor = not score.unit and value < (POOR if score.metric == "top1" else POOR_OTHERWISE)
    return Trial(candidate, value, first.reshape(len(samples), -1), f"{score.metric} {shown}", poor)


def _order(draft: Draft, trials: Sequence[Trial], classes: Array, names: int) -> dict[int, int]:
    """The output of each class, where the model's answers show clearly that it is not that of its name; else none.

    Of several that are as clear that of the first trial.
    """
    if draft.loaded.recipe.task != "classification" or not names:
        return {}
    orders = [(outputs_of_classes(trial.answers, classes), trial) for trial in trials]
    fitting = [
        (share_right(trial.answers, classes, order), order)
        for order, trial in orders
        if order is not None and max(order.values()) < names
    ]
    right, order = max(fitting, key=lambda one: one[0], default=(0.0, {}))
    return order if right > max(0.5, max(trial.value for trial in trials) + 0.3) else {}
