"""The samples that a recipe names: read, and checked against the model's input and classes. Evaluates no model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from skerry_agent.processing import (
    Array,
    ProcessingError,
    Sample,
    SampleSequence,
    parse_npz,
    preprocess,
    sample_shape,
)
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_agent.wire.shapes import squeezed
from skerry_host.builder.data.meaning import name_issues
from skerry_host.builder.data.truth import TruthError, TruthForm, parse_truth
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import LoadedRecipe, Recipe

CHANNELS = {1, 3, 4}
"""Sizes of an axis that may hold the colours of an image."""
TURN = 0.6180339887498949
"""The golden ratio's part after the point: its multiples are spread evenly, and meet no period."""


def spread(total: int, most: int) -> list[int]:
    """At most so many of so many places, from all over, at uneven steps."""
    if most >= total:
        return list(range(total))
    return [*dict.fromkeys(int((at + at * TURN % 1) * total / most) for at in range(most))]


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples that are rows of arrays in memory, one array (N, ...) for each input."""

    arrays: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Sample:
        return tuple(array[index] for array in self.arrays)


@dataclass(frozen=True, slots=True)
class Picked:
    """Some of other samples, by their places; reads none before it is asked for."""

    of: SampleSequence
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        return self.of[self.places[index]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples before preprocessing, one array for each input in the source's order.

    `truth` is what is right for each in the form of the task, a class's number for instance; None where nobody said.
    `reference` are the float model's real outputs (N, ...), once it has run.
    """

    inputs: SampleSequence
    truth: Sequence[Any] | None = None
    reference: tuple[Array, ...] | None = None

    @classmethod
    def of(cls, *arrays: Array, truth: Iterable[Any] | None = None) -> "Samples":
        """Samples from one array (N, ...) for each input."""
        return cls(Columns(arrays), None if truth is None else list(truth))

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Sample]:
        return (self.inputs[index] for index in range(len(self)))

    @property
    def classes(self) -> Array:
        """The class of each sample (N,) where `truth` is classes; 0 for all where it is not, or there is none."""
        known = self.truth is not None and all(np.ndim(one) == 0 and not isinstance(one, str) for one in self.truth)
        return np.array(self.truth if known else [0] * len(self), np.int64)

    def subset(self, indices: Iterable[int]) -> "Samples":
        """The samples at these places, in this order."""
        places = [int(index) for index in indices]
        truth = None if self.truth is None else [self.truth[place] for place in places]
        reference = None if self.reference is None else tuple(part[places] for part in self.reference)
        return Samples(Picked(self.inputs, tuple(places)), truth, reference)

    def every(self, step: int) -> "Samples":
        """About one sample of `step`, from all over the set."""
        return self.spread(-(-len(self) // step))

    def spread(self, most: int) -> "Samples":
        """At most so many, from all over the set, at uneven steps: classes may come in turn, or every fourth be odd."""
        return self if most >= len(self) else self.subset(spread(len(self), most))

    def compared_with(self, outputs: Iterable[Array]) -> "Samples":
        """The same samples; without truth, outputs are compared with these of the float model."""
        return replace(self, reference=outputs if isinstance(outputs, tuple) else tuple(outputs))


@dataclass(frozen=True, slots=True)
class DataSet:
    """The calibration samples (the representative dataset) and the evaluation samples; none should be in both.

    What else is known of them where they were not in .npz files: the `names` of classes, `notes` of what was done to
    samples, which were `left_out` and why, and a hash of each set's files. `ordered`: neighbouring values of a sample
    belong together, as in an image, not as in a table.
    """

    calibration: Samples
    evaluation: Samples
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = True


def load_data(loaded: LoadedRecipe, tensors: Sequence[TensorSpec], classes: int) -> DataSet:
    """The samples of a recipe for a model with the inputs `tensors` and `classes` (0: unknown); raises `RecipeError`.

    The recipe has preprocessing for each of them: see `Recipe.for_inputs`.
    """
    plan = loaded.recipe
    places = plan.feeding.brought(tensors)
    issues = [issue for place in places for issue in _declared(plan.feeding.at(place), tensors[place])]
    calibration = _load(loaded.calibration, plan, tensors, classes, issues)
    evaluation = _load(loaded.evaluation, plan, tensors, classes, issues)
    needed = plan.data.min_calibration_samples
    if calibration and needed is not None and len(calibration) < needed:
        issues.append(
            f"{loaded.calibration.name}: {len(calibration)} samples, min_calibration_samples asks for {needed}"
        )
    if evaluation and len(evaluation) < plan.golden.samples:
        issues.append(f"{loaded.evaluation.name}: {len(evaluation)} samples, fewer than golden.samples")
    issues += name_issues(plan, plan.labels.names, classes)
    if issues or calibration is None or evaluation is None:
        raise RecipeError(f"data of recipe {plan.name}", issues, code="data")
    return DataSet(calibration, evaluation)


def _load(path: Path, plan: Recipe, tensors: Sequence[TensorSpec], classes: int, issues: list[str]) -> Samples | None:
    """One file's samples, or None when it has no such arrays; adds to `issues`."""
    try:
        with path.open("rb") as file:
            arrays = parse_npz(file, path.name)
    except (OSError, ProcessingError) as error:
        issues.append(f"{path.name}: {error}")
        return None
    found: list[str] = []
    columns = _columns(arrays, plan, tensors, found)
    issues += [f"{path.name}: {issue}" for issue in found]
    if not columns:
        return None
    form = TruthForm(len(columns[0]), classes, plan.labels.names)
    try:
        return Samples.of(*columns, truth=parse_truth(plan.task, arrays, form))
    except TruthError as error:
        issues.append(f"{path.name}: {error}")
        return None


def _columns(arrays: dict[str, Array], plan: Recipe, tensors: Sequence[TensorSpec], issues: list[str]) -> list[Array]:
    """For each input that is not fed back its array, `input_NAME`, or `inputs` of a model with one."""
    places = plan.feeding.brought(tensors)
    found = []
    for place in places:
        name = f"input_{tensors[place].name}"
        name = "inputs" if len(places) == 1 and name not in arrays else name
        if name not in arrays:
            issues.append(f"has no array {name}, it has {', '.join(sorted(arrays)) or 'nothing'}")
        elif arrays[name].ndim == 0:
            issues.append(f"{name} is one number, not an array of samples")
        else:
            found.append(arrays[name])
            issues += _input_issues(name, arrays[name], tensors[place], plan.feeding.at(place))
    if found and not issues and all(array.min() == array.max() for array in found):
        issues.append(f"every input value is {found[0].flat[0]}: these are not real samples")
    if len({len(array) for array in found}) > 1:
        issues.append(f"its inputs have {', '.join(str(len(array)) for array in found)} samples: as many of each")
    return [] if len(found) < len(places) else found


def _declared(prep: Preprocess, tensor: TensorSpec) -> list[str]:
    """What the recipe says of the model's input that is not so."""
    if len(tensor.shape) != 4:
        return []
    takes = "x".join(map(str, tensor.shape[1:]))
    if prep.layout == "nchw" and tensor.shape[3] in CHANNELS and tensor.shape[1] not in CHANNELS:
        return [f"preprocess.layout: the model takes {takes}, pixels, not planes: leave out layout"]
    if prep.color == "bgr" and sample_shape(prep, tensor)[2] == 1:
        return [f"preprocess.color: the model takes {takes}, which has no colours to swap: leave out color"]
    return []


def _input_issues(name: str, inputs: Array, tensor: TensorSpec, prep: Preprocess) -> list[str]:
    if inputs.dtype.kind not in "uifb":
        return [f"{name} have dtype {inputs.dtype}, not a numeric one"]
    unfit = _unfit(name, inputs, tensor, prep)
    if unfit:
        return [unfit]
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        return [f"{name} hold NaN or infinity"]
    if _not_finite(inputs, tensor, prep):
        return [f"{name} from {inputs.min():g} to {inputs.max():g} are beyond float32 after preprocessing"]
    return []


def _unfit(name: str, inputs: Array, tensor: TensorSpec, prep: Preprocess) -> str:
    """Why the model cannot take such samples, empty if it can."""
    if not len(inputs):
        return f"{name} holds no samples"
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is said elsewhere
            preprocess(inputs[0], prep, tensor)
    except ProcessingError as error:
        if squeezed(inputs.shape[1:]) == squeezed(tensor.shape) or prep.resize != "none":
            return error.message
        wanted = "x".join(map(str, tensor.shape[1:]))
        shape, cause = "x".join(map(str, inputs.shape)), _cause(inputs, tensor)
        return f"{name} have shape {shape}, the model takes Nx{wanted}{cause}"
    return ""


def _cause(inputs: Array, tensor: TensorSpec) -> str:
    """Why a shape does not fit, where that is plain; empty if it is not."""
    one, wanted = inputs.shape[1:], tensor.shape[1:]
    if len(one) == 3 and (*one[1:], one[0]) == wanted:
        return ": the samples are planes (C, H, W), but devices hand over pixels (H, W, C): transpose them"
    if inputs.shape == wanted:
        return ": this is a single sample: write them as (N, ...)"
    if len(one) == 1 and one[0] == np.prod(wanted):
        return ": the samples are flat: reshape them"
    if len(one) == len(wanted) and sorted(one) == sorted(wanted):
        return ": the axes are in another order"
    return ""


def _not_finite(inputs: Array, tensor: TensorSpec, prep: Preprocess) -> bool:
    """Whether the samples with the smallest and the largest value are more than the input's dtype holds."""
    rows = inputs.reshape(len(inputs), -1)  # argmin of all would copy them, for they are read-only
    extremes = {int(rows.min(axis=1).argmin()), int(rows.max(axis=1).argmax())} if inputs.size else set()
    with np.errstate(over="ignore", invalid="ignore"):
        return not all(np.isfinite(preprocess(inputs[at], prep, tensor)).all() for at in extremes)
