"""The samples that a recipe names: read, and checked against the model's input and classes. Judges no model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skerry_agent.processing import Array, ProcessingError, parse_npz
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.build.errors import RecipeError
from skerry_host.build.recipe import LoadedRecipe


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples (N, ...) before preprocessing, and the class of each (N,)."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is calibrated with, and what is judged with; no sample should be in both."""

    calibration: Samples
    evaluation: Samples


def load_data(loaded: LoadedRecipe, tensor: TensorSpec, classes: int) -> DataSet:
    """The samples of a recipe for a model with input `tensor` and `classes` outputs; raises `RecipeError`."""
    issues: list[str] = []
    calibration = _load(loaded.calibration, tensor, classes, issues)
    evaluation = _load(loaded.evaluation, tensor, classes, issues)
    plan = loaded.recipe
    if calibration and len(calibration) < plan.data.min_calibration_samples:
        needed = plan.data.min_calibration_samples
        issues.append(f"{loaded.calibration.name}: {len(calibration)} samples, {needed} are needed to calibrate")
    if evaluation and len(evaluation) < plan.golden.samples:
        issues.append(f"{loaded.evaluation.name}: {len(evaluation)} samples, fewer than golden.samples")
    if plan.labels.names and len(plan.labels.names) != classes:
        issues.append(f"labels.names: {len(plan.labels.names)} names, the model has {classes} classes")
    if issues or calibration is None or evaluation is None:
        raise RecipeError(f"data of recipe {plan.name}", issues, code="data")
    return DataSet(calibration, evaluation)


def _load(path: Path, tensor: TensorSpec, classes: int, issues: list[str]) -> Samples | None:
    """One file's samples, or None when it has no such arrays; adds to `issues`."""
    try:
        arrays = parse_npz(path.read_bytes(), path.name)
    except (OSError, ProcessingError) as error:
        issues.append(f"{path.name}: {error}")
        return None
    missing = [name for name in ("inputs", "labels") if name not in arrays]
    if missing:
        issues.append(f"{path.name}: has no array {' nor '.join(missing)}")
        return None
    samples = Samples(arrays["inputs"], arrays["labels"])
    found = [*_input_issues(samples.inputs, tensor), *_label_issues(samples, classes)]
    issues += [f"{path.name}: {issue}" for issue in found]
    return samples


def _input_issues(inputs: Array, tensor: TensorSpec) -> list[str]:
    if inputs.dtype.kind not in "uif":
        return [f"inputs are of {inputs.dtype}, not of numbers"]
    if inputs.ndim == 0 or _squeezed(inputs.shape[1:]) != _squeezed(tensor.shape):
        wanted = "x".join(map(str, tensor.shape[1:]))
        return [f"inputs have shape {'x'.join(map(str, inputs.shape))}, the model takes Nx{wanted}"]
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        return ["inputs hold NaN or infinity"]
    if inputs.size and inputs.min() == inputs.max():
        return [f"every input value is {inputs.flat[0]}: these are no real samples"]
    return []


def _label_issues(samples: Samples, classes: int) -> list[str]:
    labels = samples.labels
    if labels.shape != (len(samples),) or labels.dtype.kind not in "ui":
        return [f"labels are {labels.dtype} of shape {labels.shape}, not {len(samples)} integers"]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return [f"labels run from {labels.min()} to {labels.max()}, the model has {classes} classes"]
    return []


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
