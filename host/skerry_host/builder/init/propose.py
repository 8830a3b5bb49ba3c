"""Makes the recipe of a model and its data: looks at both, drafts, tries preprocessings, and writes it.

What is tried is tried on calibration samples, so that the evaluation stays fair. Builds nothing.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.load import load_data
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.data.readers.base import UnusableDataError
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
from skerry_host.builder.init.choices import LABELS, Choice, apart, questions, recipe_text
from skerry_host.builder.init.data_facts import data_facts
from skerry_host.builder.init.facts import ModelFacts, model_facts
from skerry_host.builder.init.guesses import DataFacts
from skerry_host.builder.judge.evaluate import evaluate
from skerry_host.builder.recipe.errors import OutputError, RecipeError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import FILE, PLACEHOLDER, LoadedRecipe, SourcePlan, load_recipe
from skerry_host.builder.sources.load import SourceModel, load_source

TRIED, TRIED_LARGE = 200, 50
"""Samples that a preprocessing is tried on, and of inputs with more values than `LARGE`."""
LARGE = 200_000
HARDLY_WORSE = 0.02
"""By how much a less usual preprocessing must be better."""


@dataclass(frozen=True, slots=True)
class InitRequest:
    """What a recipe is wanted for; `out` is the folder that is written."""

    model: Path
    data: Path
    task: str | None = None
    out: Path | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that was written, what was tried with which figure, and what a person should answer."""

    folder: Path
    version: str
    text: str
    tried: tuple[str, ...]
    notes: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A recipe on the disk, with the model and the data that it names."""

    loaded: LoadedRecipe
    source: SourceModel
    data: DataSet
    tensor: TensorSpec


def propose(request: InitRequest, progress: Progress = silent) -> Proposal:
    """Write the folder of a recipe; raises `ModelError`, `RecipeError`, `OutputError`."""
    model = model_facts(request.model)
    folder = (request.out or Path(model.name)).absolute()
    _require_free(folder)
    progress("looking at the data")
    try:
        data = data_facts(request.data.absolute(), request.task or model.task)
    except (UnusableDataError, OSError) as error:
        raise RecipeError(str(request.data), [str(error)], hint="see docs/data.md", code="data") from None
    task = guesses.task_of(request.task, model, data)
    choices = [*_head(model, task), *_places(model, data, request.data.absolute())]
    choices += guesses.shapes_of(model, data, task.value)
    progress("opening the model")
    shapes = {one.key: tuple(one.value) for one in choices if one.table == "source.shapes"}
    source = load_source(request.model, SourcePlan(request.model.name, shapes=shapes), trusted=request.trusted)
    choices += _of_outputs(source, model, data, task.value)
    choices += _of_input(source.graph.input_specs()[0], data, task.value)
    return _written(folder, choices, source, model, data, progress)


def _written(
    folder: Path,
    choices: list[Choice],
    source: SourceModel,
    model: ModelFacts,
    data: DataFacts,
    progress: Progress,
) -> Proposal:
    """Write the recipe, load it as a build would, try what can be tried, and write it again with what was found."""
    heading = [f"How {model.path.name} becomes int8 artifacts: written by skerry model init. Check what is a guess."]
    names = next((one.value for one in choices if (one.table, one.key) == ("labels", "names") and one.value), ())
    with tempfile.TemporaryDirectory(prefix="skerry-init-") as place:
        _write(Path(place), choices, heading)
        draft = _draft(Path(place), source, progress)
    choices += _fewer_golden(draft.data)
    found = _try(draft, data, names, progress)
    choices += found.choices
    if model.ultralytics:
        choices += guesses.ultralytics(draft.loaded.recipe.preprocess, tried=bool(found.trials))
    tried = tuple(f"{trial.candidate.words}: {trial.shown}" for trial in found.trials)
    if found.order:
        why = "the order in which the float model answers these samples"
        choices += guesses.named(found.order, why, guess=True)
    text = recipe_text(apart(choices)[0], heading)
    _write(folder, choices, heading)
    return Proposal(folder, model.version, text, tried, draft.data.notes, tuple(questions(choices)))


def _head(model: ModelFacts, task: Choice) -> list[Choice]:
    ask = "" if model.license else "which license have the model and its data?"
    license_ = Choice("", "license", model.license or "unknown", "", ask=ask)
    name = Choice("", "name", model.name, "from the name of the file")
    return [Choice("", "schema", 1), name, task, license_]


def _places(model: ModelFacts, data: DataFacts, place: Path) -> list[Choice]:
    path = model.path.absolute()
    return [
        Choice("source", "file", _file(model)),
        Choice("source", "folders", [str(path.parent)], "the model stays where it is"),
        Choice("data", "folder", str(place), "the data stay where they are; split, where they are not split already"),
        Choice("data", "format", data.format, "as they look", guess=True),
    ]


def _file(model: ModelFacts) -> str:
    """The file's name; the version in it may be another in another build."""
    return model.path.name.replace(model.version, PLACEHOLDER) if model.version else model.path.name


def _of_outputs(source: SourceModel, model: ModelFacts, data: DataFacts, task: str) -> list[Choice]:
    outputs = source.graph.output_specs()
    if task == "detection":
        return [*guesses.decoder_of(source.graph, model, data), *guesses.labels_of(model, data, _named(model, data))]
    if task not in {"classification", "multilabel"}:
        return []
    return guesses.labels_of(model, data, int(np.prod(outputs[0].shape[1:])))


def _named(model: ModelFacts, data: DataFacts) -> int:
    return len(model.names) or len(data.names)


def _of_input(tensor: TensorSpec, data: DataFacts, task: str) -> list[Choice]:
    """How images come to the model's size, colours and order of axes."""
    layout = guesses.layout_of(tensor)
    if not layout or data.format not in {"folder", "coco", "yolo", "masks"}:
        return []
    shape = tensor.shape[1:] if layout == "nhwc" else (*tensor.shape[2:], tensor.shape[1])
    made = [guesses.resize_of(data, (shape[0], shape[1]), task)]
    if layout == "nchw":
        made.append(Choice("preprocess", "layout", "nchw", f"the model takes planes, {tensor.shape}"))
    if shape[2] == 1:
        made.append(Choice("preprocess", "color", "gray", "the model takes one channel"))
    return made


def _draft(folder: Path, source: SourceModel, progress: Progress) -> _Draft:
    loaded = load_recipe(folder)
    tensors = source.graph.input_specs()
    loaded = replace(loaded, recipe=loaded.recipe.for_inputs(tensors))
    outputs = source.graph.output_specs()
    loaded = settled(loaded, outputs)
    classes = class_count(loaded.recipe, outputs)
    data = load_data(loaded, tensors, classes, progress)
    place = loaded.recipe.feeding.brought(tensors)[0]
    return _Draft(loaded, source, data, tensors[place])


def _fewer_golden(data: DataSet) -> list[Choice]:
    """Where there are fewer evaluation samples than golden ones are usual."""
    count = len(data.evaluation)
    if count >= 16:
        return []
    return [Choice("golden", "samples", max(2, count), f"there are only {count} evaluation samples")]


@dataclass(frozen=True, slots=True)
class _Tried:
    """The tried preprocessings, the best first, the keys that it gives, and the order of classes if it is another."""

    trials: Sequence[Trial] = ()
    choices: Sequence[Choice] = ()
    order: tuple[str, ...] = ()


def _try(draft: _Draft, data: DataFacts, names: Sequence[str], progress: Progress) -> _Tried:
    """What can be found out by running the float model on labelled samples."""
    start = draft.loaded.recipe.preprocess
    if draft.source.quantized:
        why = "the model is quantized: its inputs are raw values"
        prep = raw_values(start, draft.tensor)
        offset = [Choice("preprocess", "offset", prep.offset)] if prep.offset else []
        return _Tried(choices=[Choice("preprocess", "scale", prep.scale, why, guess=True), *offset])
    image = guesses.layout_of(draft.tensor) != "" and draft.data.calibration.inputs[0][0].dtype == np.uint8
    channels = draft.tensor.shape[1 if start.layout == "nchw" else -1]
    found = _candidates(draft, data, start, image, channels)
    if not found:
        return _Tried()
    if draft.data.calibration.truth is None:
        return _Tried(choices=_untried(found[0]))
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
    return _Tried(trials, _keys(trials, start, len(samples)), placed(names, order))


def _candidates(draft: _Draft, data: DataFacts, start: Preprocess, image: bool, channels: int) -> list[Candidate]:
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


def _some(draft: _Draft) -> Samples:
    """The samples that are tried, from all over the calibration set."""
    large = guesses.value_count(draft.tensor) > LARGE
    samples = draft.data.calibration
    return samples.every(max(1, len(samples) // (TRIED_LARGE if large else TRIED)))


def _figure(draft: _Draft, candidate: Candidate, samples: Samples) -> Trial:
    """The metric of the float model with a preprocessing."""
    recipe = msgspec.structs.replace(draft.loaded.recipe, preprocess=candidate.prep, inputs={})
    recipe = recipe.for_inputs(draft.source.graph.input_specs())
    score = evaluate(draft.source.data, samples, recipe.feeding, recipe.meaning)
    first = next(iter(score.outputs.values()))
    shown = f"{score.value:.4g} {score.unit}" if score.unit else f"{score.value:.1%}"
    value = score.value if score.better == "higher" else -score.value
    poor = not score.unit and value < (POOR if score.metric == "top1" else POOR_OTHERWISE)
    return Trial(candidate, value, first.reshape(len(samples), -1), f"{score.metric} {shown}", poor)


def _order(draft: _Draft, trials: Sequence[Trial], classes: Array, names: int) -> dict[int, int]:
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


def _require_free(folder: Path) -> None:
    if (folder / FILE).exists():
        raise OutputError(f"{folder / FILE} is there already", hint="name another --out, or remove it", code="exists")


def _write(folder: Path, choices: Sequence[Choice], heading: Sequence[str]) -> None:
    kept, names = apart(choices)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if names:
            (folder / LABELS).write_text("".join(f"{name}\n" for name in names), "utf-8")
        (folder / FILE).write_text(recipe_text(kept, heading), "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}", hint="choose another --out") from None
