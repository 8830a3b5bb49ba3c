"""Makes the recipe of a model and its data: looks at both, drafts, tries preprocessings, and writes it.

Builds nothing.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from skerry_agent.wire.manifest import TensorSpec
from skerry_agent.wire.postprocess import TaskName
from skerry_host.builder.data.load import load_data
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.data.readers.base import UnusableDataError
from skerry_host.builder.data.samples import DataSet
from skerry_host.builder.init import guesses
from skerry_host.builder.init.choices import LABELS, Choice, apart, questions, recipe_text
from skerry_host.builder.init.data_facts import data_facts
from skerry_host.builder.init.facts import ModelFacts, model_facts
from skerry_host.builder.init.guesses import DataFacts
from skerry_host.builder.init.try_out import Draft, try_out
from skerry_host.builder.recipe.errors import OutputError, RecipeError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import FILE, PLACEHOLDER, SourcePlan, load_recipe
from skerry_host.builder.sources.load import SourceModel, load_source
from skerry_host.nearest import did_you_mean


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


def propose(request: InitRequest, progress: Progress = silent) -> Proposal:
    """Write the folder of a recipe; raises `ModelError`, `RecipeError`, `OutputError`."""
    _require_known(request.task)
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
    source = load_source(
        request.model, SourcePlan(request.model.name, shapes=shapes), progress, trusted=request.trusted
    )
    choices += _of_outputs(source, model, data, task.value)
    choices += _of_input(source.graph.input_specs()[0], data, task.value)
    return _written(folder, choices, _Seen(source, model, data), progress)


def _require_known(task: str | None) -> None:
    """Said before anything is read, and of the option: the draft of a recipe is nothing that its user has seen."""
    known: tuple[str, ...] = get_args(TaskName)
    if task is not None and task not in known:
        issue = f"{task!r} is none of {', '.join(known)}{did_you_mean(task, known)}"
        raise RecipeError("--task", [issue], hint="see docs/tasks.md")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The opened model, and what was seen of its file and of the data."""

    source: SourceModel
    model: ModelFacts
    data: DataFacts


def _written(folder: Path, choices: list[Choice], seen: _Seen, progress: Progress) -> Proposal:
    """Write the recipe, load it as a build would, try what can be tried, and write it again with what was found."""
    model = seen.model
    heading = [f"How {model.path.name} becomes int8 artifacts: written by skerry model init. Check what is a guess."]
    names = next((one.value for one in choices if (one.table, one.key) == ("labels", "names") and one.value), ())
    with tempfile.TemporaryDirectory(prefix="skerry-init-") as place:
        _write(Path(place), [*choices, Choice("golden", "samples", 2)], heading)  # of few samples, too
        draft = _draft(Path(place), seen.source, progress)
    choices += _fewer_golden(draft.data)
    found = try_out(draft, seen.data, names, progress)
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
    scores = int(np.prod(outputs[0].shape[1:]))
    single = task == "classification" and scores == 1  # a probability that tells two classes apart
    return guesses.labels_of(model, data, 2 if single else scores)


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


def _draft(folder: Path, source: SourceModel, progress: Progress) -> Draft:
    loaded = load_recipe(folder)
    tensors = source.graph.input_specs()
    loaded = replace(loaded, recipe=loaded.recipe.for_inputs(tensors))
    outputs = source.graph.output_specs()
    loaded = settled(loaded, outputs)
    classes = class_count(loaded.recipe, outputs)
    data = load_data(loaded, tensors, classes, progress)
    place = loaded.recipe.feeding.brought(tensors)[0]
    return Draft(loaded, source, data, tensors[place])


def _fewer_golden(data: DataSet) -> list[Choice]:
    """Where there are fewer evaluation samples than golden ones are usual."""
    count = len(data.evaluation)
    if count >= 16:
        return []
    return [Choice("golden", "samples", max(2, count), f"there are only {count} evaluation samples")]


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
