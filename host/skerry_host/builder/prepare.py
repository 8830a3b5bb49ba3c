"""Reads all that a build is asked to work on, and finds everything that is wrong with it in one round.

Converts the source, but quantizes nothing, runs no gate and writes nothing. `build` starts from what is prepared here;
`skerry model check` only shows what was found.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import prod
from pathlib import Path

from skerry_agent.wire.manifest import DETECTION, TensorSpec
from skerry_agent.wire.targets import TargetName
from skerry_host.boards import Board, load_board
from skerry_host.builder.data import lint
from skerry_host.builder.data.alone import require_readable
from skerry_host.builder.data.features import features_of
from skerry_host.builder.data.ids import require_known, require_unscaled
from skerry_host.builder.data.kept import kept
from skerry_host.builder.data.load import load_data, with_names
from skerry_host.builder.data.meaning import class_count, settled
from skerry_host.builder.data.samples import DataSet
from skerry_host.builder.judge.other_outputs import other_places, with_output
from skerry_host.builder.modelfile.vocabulary import vocabularies
from skerry_host.builder.output import check_output
from skerry_host.builder.recipe.errors import ModelError, RecipeError
from skerry_host.builder.recipe.problems import Problems
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import LoadedRecipe, Quantize, Recipe, read_recipe
from skerry_host.builder.recipe.through_sigmoid import through_sigmoid
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.builder.sources.load import SourceModel, load_onnx_alone, load_source
from skerry_host.builder.targets.base import TargetBuilder, fitted
from skerry_host.builder.targets.table import BUILDERS, choose_targets, compiled_from, for_file, for_source


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built. `now` is written into the provenance; without `version` the newest source is taken.

    `trust_source` lets a source that carries code run it. `previous` is the cpu model of the release before, and
    `previous_golden` its golden file.
    """

    recipe: Path
    board: str
    now: datetime
    version: str | None = None
    out: Path | None = None
    targets: Sequence[str] = ()
    trust_source: bool = False
    previous: bytes | None = None
    previous_golden: bytes | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that was asked for and read, found fit to build from; `lost` says why a target is not built."""

    request: BuildRequest
    board: Board
    loaded: LoadedRecipe
    out: Path
    source: SourceModel
    builders: Sequence[TargetBuilder]
    data: DataSet
    warnings: tuple[str, ...]
    progress: Progress
    lost: Mapping[TargetName, str]

    @property
    def plan(self) -> Quantize:
        """The recipe's quantization settings."""
        return self.loaded.recipe.quantize

    def compiler(self, builder: TargetBuilder) -> TargetBuilder | None:
        """The board's target that gets the same integers compiled; None if there is none or it cannot run them."""
        found = compiled_from(self.board, builder.target.name)
        return None if found is None or found.plan_problem(self.plan) else found


def prepare(request: BuildRequest, progress: Progress = silent) -> Prepared:
    """Read what the request names; raises everything that forbids a build, before anything takes long."""
    problems = Problems()
    found = look(request, problems, progress)
    problems.require()
    assert found is not None
    return found


def look(request: BuildRequest, problems: Problems, progress: Progress = silent) -> Prepared | None:
    """Look at all that can be looked at, whatever else is wrong; None if `problems` has something that forbids it."""
    board = problems.take(lambda: load_board(request.board))
    asked = None if board is None else problems.take(lambda: choose_targets(board, request.targets))
    loaded, wrong = read_recipe(request.recipe, request.version)
    if wrong is not None:
        problems.add(wrong)
    if loaded is None:
        return None
    problems.take(lambda: _require_fitting_plan(request.targets, loaded))
    out = (request.out or Path("builds") / name_of(loaded)).absolute()
    problems.take(lambda: check_output(out))
    progress("checking the source model")
    source = None
    if loaded.source.exists():
        source = problems.take(lambda: _source(loaded, asked or (), progress, trusted=request.trust_source))
    if source is None and wrong is None:
        problems.take(lambda: require_readable(loaded))
    if source is None or wrong is not None:
        return None
    fitting = problems.take(lambda: for_source(asked or (), source, loaded.recipe.quantize))
    fed = problems.take(lambda: _for_inputs(loaded, source))
    data = None if fed is None else problems.take(lambda: _data(fed, source, progress))
    if fed is not None and data is not None:
        problems.take(lambda: _require_known_ids(fed, source, data))
    named = None if fed is None or data is None else problems.take(lambda: _named(fed, source, data))
    warnings = None if data is None else problems.take(lambda: _warnings(loaded, source, data))
    if problems or board is None or fitting is None or data is None or warnings is None or named is None:
        return None
    ranked = named.recipe.meaning.name == DETECTION
    read = replace(source, through_sigmoid=_through_sigmoid(named, source), ranked=ranked)
    return Prepared(request, board, named, out, read, fitting[0], data, warnings, progress, fitting[1])


def _through_sigmoid(loaded: LoadedRecipe, source: SourceModel) -> frozenset[str]:
    """The names of the outputs of which only a sigmoid is read: by nothing in the model at the next sample, either."""
    outputs = [source.graph.tensors[index] for index in source.graph.outputs]
    places = through_sigmoid(loaded.recipe.meaning, [tensor.shape for tensor in outputs])
    fed_back, specs = {*loaded.recipe.feeding.feedback.values()}, source.graph.output_specs()
    return frozenset(outputs[place].name for place in places if specs[place].name not in fed_back)


def name_of(loaded: LoadedRecipe) -> str:
    """What is built, for people, and the name of its folder."""
    return f"{loaded.recipe.name}-{loaded.version}" if loaded.version else loaded.recipe.name


def _source(
    loaded: LoadedRecipe, builders: Sequence[TargetBuilder], progress: Progress, *, trusted: bool
) -> SourceModel:
    """The source as TFLite where a target needs that; an ONNX that no converter can turn into it serves the others."""
    plan, suffixes = loaded.recipe.opening, {builder.target.suffix for builder in builders}
    if suffixes == {".onnx"} and kind_of(loaded.source) == "onnx":
        return load_onnx_alone(loaded.source, plan)
    try:
        return load_source(loaded.source, plan, progress, trusted=trusted)
    except ModelError as error:
        if ".onnx" not in suffixes or kind_of(loaded.source) != "onnx":
            raise
        return _onnx_only(loaded, error)


def _onnx_only(loaded: LoadedRecipe, why: ModelError) -> SourceModel:
    """The ONNX itself, which no converter could turn into TFLite; raises `why` if it cannot be used either."""
    try:
        return replace(load_onnx_alone(loaded.source, loaded.recipe.opening), no_tflite=str(why))
    except ModelError:
        raise why from None


def _require_fitting_plan(asked: Sequence[str], loaded: LoadedRecipe) -> None:
    for name, builder in BUILDERS.items():
        problem = builder.plan_problem(loaded.recipe.quantize) if name in asked else ""
        if problem:
            hint = "use int8, or build another --target"
            raise RecipeError(f"recipe {loaded.recipe.name}", [problem], hint=hint, code=name)


def _data(loaded: LoadedRecipe, source: SourceModel, progress: Progress) -> DataSet:
    """The samples; where they do not fit the output that the recipe names, the error says which one they fit."""
    try:
        return _samples(loaded, source, progress)
    except RecipeError as error:
        fitting = _fitting_output(loaded, source, progress)
        if not fitting:
            raise
        hint = f"{fitting}; {error.hint}" if error.hint else fitting
        raise RecipeError(error.where, error.issues, hint=hint, code=error.code) from None


def _fitting_output(loaded: LoadedRecipe, source: SourceModel, progress: Progress) -> str:
    """An output of another number of classes whose samples are taken: what to write. Empty if there is none."""
    outputs = source.graph.output_specs()
    own = class_count(loaded.recipe, outputs)
    for place in other_places(loaded, outputs):
        with contextlib.suppress(RecipeError):
            other = with_output(loaded, place, outputs)
            if class_count(other.recipe, outputs) != own:
                _named(other, source, _samples(other, source, progress))
                return f"output = {place} in [postprocess] ({outputs[place].name}) fits these labels (not tried)"
    return ""


def _samples(loaded: LoadedRecipe, source: SourceModel, progress: Progress) -> DataSet:
    classes = class_count(loaded.recipe, source.graph.output_specs())
    own = for_file(".tflite" if source.is_tflite else ".onnx")
    loaded = replace(loaded, recipe=fitted(loaded.recipe, source.graph, own))
    return kept(load_data(loaded, source.graph.input_specs(), classes, progress))


def _for_inputs(loaded: LoadedRecipe, source: SourceModel) -> LoadedRecipe:
    """With preprocessing for each input of the source, and what its outputs say of [postprocess].

    Raises `RecipeError` where an input does not fit.
    """
    inputs, outputs = source.graph.input_specs(), source.graph.output_specs()
    recipe = loaded.recipe.for_inputs(inputs)
    require_unscaled(recipe.feeding, inputs, recipe.name)
    _require_states(recipe, inputs, outputs)
    return settled(replace(loaded, recipe=recipe), outputs)


def _require_states(recipe: Recipe, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Raise `RecipeError` where an input is to be fed what is no output, or none of its size."""
    sizes = {spec.name: prod(spec.shape) for spec in outputs}
    issues = []
    for tensor in inputs:
        source = recipe.inputs[tensor.name].feedback
        if source and source not in sizes:
            there = ", ".join(sizes)
            issues.append(f"inputs.{tensor.name}.feedback: the model has no output {source} (it has {there})")
        elif source and sizes[source] != prod(tensor.shape):
            issues.append(f"inputs.{tensor.name}.feedback: output {source} has another size than the input")
    if len(recipe.feeding.feedback) == len(inputs):
        issues.append("inputs: every input is fed back, so there is none that samples bring")
    if issues:
        raise RecipeError(f"recipe {recipe.name}", issues, hint="see docs/recipe.md", code="inputs")


def _require_known_ids(loaded: LoadedRecipe, source: SourceModel, data: DataSet) -> None:
    """Raise `RecipeError` where samples hold ids that the model has no row for."""
    inputs, rows = source.graph.input_specs(), vocabularies(source.graph)
    brought = loaded.recipe.feeding.brought(inputs)
    names = {at: inputs[place].name for at, place in enumerate(brought)}
    known = {at: rows[place] for at, place in enumerate(brought) if place in rows}
    require_known(data, known, names, loaded.recipe.name)


def _named(loaded: LoadedRecipe, source: SourceModel, data: DataSet) -> LoadedRecipe:
    """With the names of classes that the data have, which may say more of the outputs."""
    return settled(with_names(loaded, data), source.graph.output_specs())


def _warnings(loaded: LoadedRecipe, source: SourceModel, data: DataSet) -> tuple[str, ...]:
    if source.quantized:
        return data.left_out
    found = features_of(data.calibration, loaded.recipe.feeding, source.graph.input_specs())
    uneven = [one.problem(name) for name, one in found.items()] if loaded.recipe.quantize.io != "float" else []
    return (*data.left_out, *lint.require(data, loaded.recipe.name), *filter(None, uneven))
