"""The recipe: how a model becomes artifacts, with its data and its budgets. Reads recipe.toml; opens no data file.

Format: docs/recipe.md. Everything that is wrong is reported at once.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from skerry_agent.processing import Feeding
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Postprocess, Preprocess, Probation, TensorSpec
from skerry_agent.wire.names import VERSION_PATTERN, ModelName
from skerry_agent.wire.postprocess import TaskName
from skerry_host.builder.recipe.data import Data, RelativePath
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.labels import Labels, label_problems, read_labels
from skerry_host.builder.recipe.parse import parse
from skerry_host.builder.recipe.places import data_places, source_folder
from skerry_host.builder.recipe.postprocess import postprocess_problems
from skerry_host.nearest import did_you_mean

FILE = "recipe.toml"
PLACEHOLDER = "{version}"

Fit = Callable[[Preprocess, TensorSpec], Preprocess]
"""Preprocessing as a target wants it for one of a model's inputs."""
Share = Annotated[float, Meta(ge=0, le=1)]


class SourcePlan(Struct, frozen=True):
    """`[source]`: the trained model's file; `{version}` in it is replaced by the version that is built.

    It is in the recipe's folder, or among the files of an installed Python `package`, or in the first of `folders` that
    has it (`$NAME` stands for an environment variable). `shapes` fixes open sizes of inputs by name. `signature` names
    the one to take of a SavedModel or TFLite file that has several. `constants` fixes the values of some
    inputs (a sampling rate): they are no inputs any more.
    """

    file: RelativePath
    package: str = ""
    folders: tuple[str, ...] = ()
    shapes: dict[str, tuple[Annotated[int, Meta(ge=1)], ...]] = {}
    signature: str = ""
    constants: dict[str, float | int | bool] = {}

    @property
    def known_sizes(self) -> frozenset[str]:
        """The inputs whose first axis may be another than a batch of 1, because the recipe says what they are."""
        return frozenset(self.shapes)


class StatefulSource(SourcePlan, frozen=True):
    """The same with the inputs that are fed back, `states`: they have no samples, so their first axis is no batch."""

    states: tuple[str, ...] = ()

    @property
    def known_sizes(self) -> frozenset[str]:
        """Those of [source.shapes], and the states."""
        return frozenset((*self.shapes, *self.states))


class InputPlan(Preprocess, frozen=True):
    """`[inputs.NAME]`: the preprocessing of one input. `feedback` names the output that it takes of the sample before.

    Such an input has no samples: it is zero at first.
    """

    feedback: str = ""

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing alone, as a manifest has it."""
        return Preprocess(**{name: getattr(self, name) for name in Preprocess.__struct_fields__})


class Task(Struct, frozen=True):
    """What a model's outputs mean, how an answer is read from them, and the names of its classes or symbols."""

    name: TaskName
    postprocess: Postprocess = Postprocess()
    labels: tuple[str, ...] = ()


LayerName = Annotated[str, Meta(min_length=1, max_length=1000)]


class Quantize(Struct, frozen=True):
    """How the model is quantized. Activations of `float` mean dynamic range: no calibration, 8-bit weights only.

    `search` looks for better choices of the keys below it, in at most `search_steps` tries; absent, only where a build
    would be refused for what quantization cost.

    `quantizer`: which one makes the integers; `auto` begins with litert-quantizer, and tries TensorFlow's where that is
    at hand and the first cannot, or loses too much. `keep_float` and `int16_layers` name layers, or patterns of names,
    that stay float or get activations of 16 bit.

    `delta_friendly` keeps scales on the grid of the previous release, absent: where that costs nothing measurable;
    `sticky` (steps) also keeps its integers, at a cost in accuracy that the budget must allow.
    """

    weights: Literal["int8"] = "int8"
    activations: Literal["int8", "int16", "float"] = "int8"
    per_channel: bool = True
    io: Literal["int8", "uint8", "int16", "float"] = "int8"
    search: bool | None = None
    search_steps: Annotated[int, Meta(ge=1, le=100)] = 25
    calibrator: Literal["moving-average", "min-max", "percentile", "mse"] = "mse"
    percentile: Annotated[float, Meta(gt=90, le=100)] = 99.99
    weight_ranges: Literal["min-max", "octav"] = "min-max"
    equalize: bool = False
    dense_by_row: bool = False
    rounding: Literal["nearest", "together"] = "nearest"
    bias_correction: bool = False
    delta_friendly: bool | None = None
    sticky: Annotated[float, Meta(ge=0, le=2)] = 0.0
    quantizer: Literal["auto", "litert", "tensorflow"] = "auto"
    keep_float: tuple[LayerName, ...] = ()
    int16_layers: tuple[LayerName, ...] = ()

    @property
    def edgetpu_problem(self) -> str:
        """Why no Edge TPU can run what this makes, empty if one can."""
        for key in ("keep_float", "int16_layers"):
            if getattr(self, key):
                return f"{key} = {list(getattr(self, key))}: an Edge TPU computes on 8-bit integers only"
        if self.activations == "int8":
            return ""
        return (
            f"activations = {self.activations!r}: an Edge TPU computes on 8-bit integers only, without mixed precision"
        )

    @property
    def problems(self) -> list[str]:
        """What the types cannot say."""
        fitting = {"int8": ("int8", "uint8", "float"), "int16": ("int16", "float"), "float": ("float",)}
        allowed = fitting[self.activations]
        found = [
            f"quantize.{key}: cannot be combined with activations = {self.activations!r}, use int8"
            for key in ("keep_float", "int16_layers")
            if getattr(self, key) and self.activations != "int8"
        ]
        if self.quantizer == "tensorflow" and (self.activations != "int8" or self.int16_layers):
            found.append("quantize.quantizer: 'tensorflow' makes int8 here, and nothing else; use 'litert'")
        if self.io not in allowed:
            use = " or ".join(allowed)
            found.append(
                f"quantize.io: {self.io!r} cannot be combined with activations = {self.activations!r}, use {use}"
            )
        return found


STEPS = (
    "equalize",
    "decompose",
    "dense_rows",
    "split_outputs",
    "ranges",
    "lookup",
    "quantizer",
    "complete",
    "bias_room",
    "rounding",
    "bias",
    "op_versions",
    "io_type",
)
"""The modules of `builder.quantize` that carry out a `Quantize`, in the order in which they run."""


USUAL_SQNR_DB = 15.0


class Budget(Struct, frozen=True):
    """The host's gates: a build that misses one is refused.

    Metrics with a unit, such as pixels, may be worse by a part of the float model's value, `max_relative_loss`; those
    that are better the lower they are have `max_error` in place of `min_accuracy`. Without `min_sqnr_db` outputs that
    the metric itself judges need none, others `least_sqnr_db`; given, it holds for all that are looked at.
    `min_class_kept`: of the samples in which the float model finds a class, those in which it must still be found.
    """

    max_accuracy_drop: Share = 0.01
    max_relative_loss: Share = 0.02
    min_accuracy: Share = 0.0
    max_error: Annotated[float, Meta(ge=0)] | None = None
    allow_chance: bool = False
    min_sqnr_db: float | None = None
    min_channel_db: float = 3.0
    min_class_kept: Share = 0.5
    max_bytes: Annotated[int, Meta(gt=0)] | None = None

    @property
    def least_sqnr_db(self) -> float:
        """The SQNR that an output needs of which no metric says anything."""
        return USUAL_SQNR_DB if self.min_sqnr_db is None else self.min_sqnr_db


class GoldenPlan(Struct, frozen=True):
    """How many held-out samples are recorded for the devices, and how close their answers must be.

    None: the build measures how far the runtime's own kernels lie apart, and allows for that.
    """

    samples: Annotated[int, Meta(ge=2, le=256)] = 16
    max_lsb: Annotated[int, Meta(ge=0, le=255)] | None = None
    min_top1: Share | None = None


class Recipe(Struct, frozen=True):
    """All of recipe.toml."""

    schema: Literal[1]
    name: ModelName
    task: TaskName
    license: str
    source: SourcePlan
    data: Data
    preprocess: Preprocess = Preprocess()
    postprocess: Postprocess = Postprocess()
    labels: Labels = Labels()
    quantize: Quantize = Quantize()
    budget: Budget = Budget()
    golden: GoldenPlan = GoldenPlan()
    probation: Probation = Probation()
    inputs: dict[str, InputPlan] = {}

    @property
    def opening(self) -> StatefulSource:
        """How the source is opened."""
        return StatefulSource(**asdict(self.source), states=tuple(self.feeding.feedback))

    @property
    def feeding(self) -> Feeding:
        """How samples become inputs; complete once `for_inputs` has put them into the model's order."""
        if not self.inputs:
            return Feeding((self.preprocess,))
        fed_back = {name: plan.feedback for name, plan in self.inputs.items() if plan.feedback}
        return Feeding(tuple(plan.preprocess for plan in self.inputs.values()), fed_back)

    def for_inputs(self, tensors: Sequence[TensorSpec]) -> "Recipe":
        """With preprocessing for each of a model's inputs, in its order.

        Raises `RecipeError` for one that the model does not have.
        """
        there = [tensor.name for tensor in tensors]
        unknown = [name for name in self.inputs if name not in there]
        if unknown:
            issues = [f"inputs.{name}: the model has no such input (it has {', '.join(there)})" for name in unknown]
            raise RecipeError(f"recipe {self.name}", issues, hint="see docs/recipe.md", code="inputs")
        first = _with(InputPlan(), self.preprocess)
        plans = {name: self.inputs.get(name, InputPlan() if place else first) for place, name in enumerate(there)}
        return replace(self, inputs=plans, preprocess=next(iter(plans.values())).preprocess)

    def fitted(self, tensors: Sequence[TensorSpec], fit: Fit) -> "Recipe":
        """With the preprocessing that a target wants for each of the model's inputs, of `for_inputs` before."""
        pairs = zip(self.inputs.items(), tensors, strict=True)
        plans = {name: _with(plan, fit(plan.preprocess, tensor)) for (name, plan), tensor in pairs}
        return replace(self, inputs=plans, preprocess=next(iter(plans.values())).preprocess)

    @property
    def problems(self) -> list[str]:
        """What the types cannot say."""
        read = postprocess_problems(self.task, self.postprocess)
        return [*self.quantize.problems, *self.data.problems, *read, *self.labels.problems_of(self.task)]

    @property
    def meaning(self) -> Task:
        """What the outputs mean."""
        return Task(self.task, self.postprocess, self.labels.names)


def _with(plan: InputPlan, prep: Preprocess) -> InputPlan:
    return replace(plan, **{name: getattr(prep, name) for name in Preprocess.__struct_fields__})


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe with the files it names, which exist, and the version that it will build (None: it has no versions).

    `calibration` and `evaluation` are files or folders, and the same one where a data set is to be split.
    """

    recipe: Recipe
    sha256: str
    version: str | None
    source: Path
    calibration: Path
    evaluation: Path


def load_recipe(path: Path, version: str | None = None) -> LoadedRecipe:
    """Read the recipe in a folder (or the file itself); raises `RecipeError` with every issue.

    Without `version` the newest one that has a source file is taken.
    """
    loaded, wrong = read_recipe(path, version)
    if wrong is not None:
        raise wrong
    assert loaded is not None
    return loaded


def read_recipe(path: Path, version: str | None = None) -> tuple[LoadedRecipe | None, RecipeError | None]:
    """The recipe as far as it can be read, and all that is wrong with it: keys with mistakes are left out.

    Files that it names may be missing then. Raises nothing.
    """
    file = path / FILE if path.is_dir() else path
    try:
        raw = _read(file)
        recipe, issues = parse(_table(file, raw), Recipe, _STAND_INS)
    except RecipeError as error:
        return None, error
    issues += [] if recipe is None else recipe.problems
    known, missing = len(issues), list[str]()
    loaded = None if recipe is None else _located(file, recipe, hashlib.sha256(raw).hexdigest(), version, missing)
    if not issues + missing:
        return loaded, None
    hint, code = ("see docs/recipe.md", None) if known else ("", "missing_file")
    return loaded, RecipeError(str(file), issues + missing, hint=hint, code=code)


_STAND_INS = {"schema": 1, "name": "unnamed", "task": "raw", "license": ""}


def _located(file: Path, recipe: Recipe, sha256: str, version: str | None, issues: list[str]) -> LoadedRecipe | None:
    """With the files that it names; adds to `issues` what is missing, None where they cannot be looked for."""
    try:
        folder = file.parent
        home = source_folder(folder, recipe.source, issues)
        chosen = _choose(home, recipe.source.file, version, issues)
        name = recipe.source.file.replace(PLACEHOLDER, chosen or "")
        source = folder / name if issues else _inside(home, name, issues, folders=True)
        calibration, evaluation = data_places(folder, recipe.data, issues)
        recipe = _with_labels(folder, recipe, issues)
    except (OSError, ValueError, NotImplementedError) as error:  # names too long for a disk, patterns that are none
        issues.append(f"its files cannot be looked for: {error}")
        return None
    return LoadedRecipe(recipe, sha256, chosen, source, calibration, evaluation)


def _with_labels(folder: Path, recipe: Recipe, issues: list[str]) -> Recipe:
    """The recipe with the labels of its file, if it names one; adds to `issues` when that cannot be used."""
    name, known = recipe.labels.file, len(issues)
    path = _inside(folder, name, issues) if name is not None else None
    if path is None or len(issues) > known:
        return recipe
    try:
        labels = read_labels(path)
    except (OSError, UnicodeDecodeError) as error:
        issues.append(f"{name}: is not a text file in UTF-8 ({error})")
        return recipe
    issues += label_problems(labels.names, f"{name}", recipe.task)
    labels = replace(labels, negative=recipe.labels.negative)
    issues += labels.negative_problems
    return replace(recipe, labels=labels)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        hint = f"name a folder with a {FILE}"
        raise RecipeError(str(file), [f"cannot be read: {error.strerror}"], hint=hint, code="no_recipe") from None


def _table(file: Path, raw: bytes) -> dict[str, Any]:
    try:
        return codec.parse_toml(raw)
    except WireError as error:
        raise RecipeError(str(file), error.issues) from None


def _choose(folder: Path, pattern: str, version: str | None, issues: list[str]) -> str | None:
    """The version to build; adds to `issues` what is wrong with it."""
    if version is not None and not re.match(VERSION_PATTERN, version):
        issues.append(f"version {version!r} is not MAJOR.MINOR.PATCH")
    if version is not None or PLACEHOLDER not in pattern:
        return version
    there = versions(folder, pattern)
    if not there:
        issues.append(f"source.file: no file matches {pattern}")
    return there[-1] if there else None


def versions(folder: Path, pattern: str) -> list[str]:
    """The versions of which a source file is there, oldest first."""
    before, _, after = pattern.partition(PLACEHOLDER)
    names = [str(path.relative_to(folder)) for path in folder.glob(f"{before}*{after}")]
    found = [name.removeprefix(before).removesuffix(after) for name in names]
    return sorted((v for v in found if re.match(VERSION_PATTERN, v)), key=_order)


def _order(version: str) -> tuple[list[int], bool, str]:
    """Releases by number; a pre-release (1.0.0-rc1) before its release."""
    numbers, _, suffix = version.partition("-")
    return [int(n) for n in numbers.split(".")], not suffix, suffix


def _inside(folder: Path, name: str, issues: list[str], *, folders: bool = False) -> Path:
    """The path of a file of the recipe's folder; adds to `issues` when it leaves the folder or is missing.

    With `folders` it may be one: what it then is, `sources.kinds` says.
    """
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        issues.append(f"{name}: must stay inside the recipe's folder")
    elif not path.is_file() and not (folders and path.is_dir()):
        there = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        lost = f"{name}: file not found{did_you_mean(path.name, there, 0.8)}"
        issues.append(f"{name}: is a folder, not a file" if path.is_dir() else lost)
    return path
