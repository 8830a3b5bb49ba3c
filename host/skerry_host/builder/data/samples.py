"""The samples that a recipe names: read, and checked against the model's input and classes. Evaluates no model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from skerry_agent.processing import Array, ProcessingError, parse_npz, preprocess, sample_shape
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import LoadedRecipe, Recipe

MAX_LABEL = 2**31
CHANNELS = {1, 3, 4}
"""Sizes of an axis that may hold the colours of an image."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples (N, ...) before preprocessing, and the class of each (N,), 0 where they are not `labelled`.

    `truth`, where labels say nothing: the real-valued outputs (N, ...) of the float model, None before it has run.
    """

    inputs: Array
    labels: Array
    labelled: bool = True
    truth: tuple[Array, ...] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def every(self, step: int) -> "Samples":
        """One sample of `step`, from all over the set."""
        truth = None if self.truth is None else tuple(part[::step] for part in self.truth)
        return Samples(self.inputs[::step], self.labels[::step], self.labelled, truth)

    def compared_with(self, outputs: Iterable[Array]) -> "Samples":
        """The same samples; without labels, outputs are compared with these of the float model."""
        return replace(self, truth=tuple(outputs))


@dataclass(frozen=True, slots=True)
class DataSet:
    """The calibration samples (the representative dataset) and the evaluation samples; none should be in both."""

    calibration: Samples
    evaluation: Samples


def class_count(plan: Recipe, outputs: Sequence[TensorSpec]) -> int:
    """How many classes a model with these outputs tells apart; 0 for a detector that gives numbers of classes."""
    if plan.task != "detection":
        return prod(outputs[0].shape[1:])
    places, known = plan.postprocess, len(outputs)
    if places.classes is not None or max(places.boxes, places.scores) >= known:
        return 0
    boxes, scores = outputs[places.boxes].shape, outputs[places.scores].shape
    count = prod(boxes[:-1])
    return prod(scores) // count if count else 0


def load_data(loaded: LoadedRecipe, tensor: TensorSpec, classes: int) -> DataSet:
    """The samples of a recipe for a model with input `tensor` and `classes` (0: unknown); raises `RecipeError`."""
    plan = loaded.recipe
    issues = _declared(plan.preprocess, tensor)
    calibration = _load(loaded.calibration, plan, tensor, classes, issues)
    evaluation = _load(loaded.evaluation, plan, tensor, classes, issues)
    needed = plan.data.min_calibration_samples
    if calibration and needed is not None and len(calibration) < needed:
        issues.append(f"{loaded.calibration.name}: {len(calibration)} samples, min_calibration_samples asks for {needed}")
    if evaluation and len(evaluation) < plan.golden.samples:
        issues.append(f"{loaded.evaluation.name}: {len(evaluation)} samples, fewer than golden.samples")
    if (
        plan.task in {"classification", "detection"}
        and plan.labels.names
        and classes not in {0, len(plan.labels.names)}
    ):
        issues.append(f"labels.names: {len(plan.labels.names)} names, the model has {classes} classes")
    if issues or calibration is None or evaluation is None:
        raise RecipeError(f"data of recipe {plan.name}", issues, code="data")
    return DataSet(calibration, evaluation)


def _load(path: Path, plan: Recipe, tensor: TensorSpec, classes: int, issues: list[str]) -> Samples | None:
    """One file's samples, or None when it has no such arrays; adds to `issues`."""
    try:
        with path.open("rb") as file:
            arrays = parse_npz(file, path.name)
    except (OSError, ProcessingError) as error:
        issues.append(f"{path.name}: {error}")
        return None
    if "inputs" not in arrays:
        issues.append(f"{path.name}: has no array inputs")
        return None
    inputs, labels = arrays["inputs"], arrays.get("labels")
    if inputs.ndim == 0:
        issues.append(f"{path.name}: inputs is one number, not an array of samples")
        return None
    nothing = np.zeros(len(inputs), np.int64)
    samples = Samples(inputs, nothing if labels is None else labels, labelled=labels is not None)
    limit = classes if plan.task == "classification" else MAX_LABEL
    found = [*_input_issues(samples.inputs, tensor, plan.preprocess), *_label_issues(samples, limit)]
    issues += [f"{path.name}: {issue}" for issue in found]
    return samples


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


def _input_issues(inputs: Array, tensor: TensorSpec, prep: Preprocess) -> list[str]:
    if inputs.dtype.kind not in "uif":
        return [f"inputs have dtype {inputs.dtype}, not a numeric one"]
    unfit = _unfit(inputs, tensor, prep)
    if unfit:
        return [unfit]
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        return ["inputs hold NaN or infinity"]
    if _not_finite(inputs, tensor, prep):
        return [f"inputs from {inputs.min():g} to {inputs.max():g} are beyond float32 after preprocessing"]
    if inputs.size and inputs.min() == inputs.max():
        return [f"every input value is {inputs.flat[0]}: these are not real samples"]
    return []


def _unfit(inputs: Array, tensor: TensorSpec, prep: Preprocess) -> str:
    """Why the model cannot take such samples, empty if it can."""
    if not len(inputs):
        return "inputs holds no samples"
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is said elsewhere
            preprocess(inputs[0], prep, tensor)
    except ProcessingError as error:
        if _squeezed(inputs.shape[1:]) == _squeezed(tensor.shape) or prep.resize != "none":
            return error.message
        wanted = "x".join(map(str, tensor.shape[1:]))
        return f"inputs have shape {'x'.join(map(str, inputs.shape))}, the model takes Nx{wanted}"
    return ""


def _not_finite(inputs: Array, tensor: TensorSpec, prep: Preprocess) -> bool:
    """Whether the samples with the smallest and the largest value are more than the input's dtype holds."""
    rows = inputs.reshape(len(inputs), -1)  # argmin of all would copy them, for they are read-only
    extremes = {int(rows.min(axis=1).argmin()), int(rows.max(axis=1).argmax())} if inputs.size else set()
    with np.errstate(over="ignore", invalid="ignore"):
        return not all(np.isfinite(preprocess(inputs[at], prep, tensor)).all() for at in extremes)


def _label_issues(samples: Samples, classes: int) -> list[str]:
    labels = samples.labels
    if labels.shape != (len(samples),) or labels.dtype.kind not in "ui":
        return [f"labels are {labels.dtype} of shape {labels.shape}, not {len(samples)} integers"]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return [f"labels run from {labels.min()} to {labels.max()}, the model has {classes} classes"]
    return []


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
