"""What is wrong with data files whatever the model: looked at where the model cannot be, so that one round names both.

Only of .npz files, which say what they hold. What must fit a model is checked by `load`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skerry_agent.processing import Array, ProcessingError, parse_npz
from skerry_host.builder.data.readers.base import UnusableDataError
from skerry_host.builder.data.readers.formats import format_of
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import LoadedRecipe


def require_readable(loaded: LoadedRecipe) -> None:
    """Raise `RecipeError` (data) with everything that no model could take."""
    found: dict[Path, int] = {}
    issues: list[str] = []
    for path in dict.fromkeys((loaded.calibration, loaded.evaluation)):
        issues += [f"{path.name}: {issue}" for issue in _issues(path, loaded, found)]
    needed = loaded.recipe.data.min_calibration_samples
    count = found.get(loaded.calibration)
    if not issues and needed is not None and count is not None and count < needed:
        issues.append(f"{loaded.calibration.name}: {count} samples, min_calibration_samples asks for {needed}")
    if issues:
        raise RecipeError(f"data of recipe {loaded.recipe.name}", issues, code="data")


def _issues(path: Path, loaded: LoadedRecipe, found: dict[Path, int]) -> Iterator[str]:
    plan = loaded.recipe.data.format
    try:
        if (format_of(path) if plan == "auto" else plan) != "npz":
            return
        with path.open("rb") as file:
            arrays = parse_npz(file, path.name)
    except (OSError, ProcessingError, UnusableDataError) as error:
        yield str(error).removeprefix(f"{path.name}: ")
        return
    inputs = {name: array for name, array in arrays.items() if name == "inputs" or name.startswith("input_")}
    if not inputs:
        yield f"has no array inputs, it has {', '.join(sorted(arrays)) or 'nothing'}"
    for name, array in inputs.items():
        found[path] = len(array) if array.ndim else 0
        yield from _of_array(name, array)
    labels = arrays.get("labels")
    if labels is not None and labels.ndim and inputs and len(labels) != found[path]:
        yield f"{len(labels)} labels for {found[path]} samples"


def _of_array(name: str, array: Array) -> Iterator[str]:
    if array.ndim == 0:
        yield f"{name} is one number, not an array of samples"
    elif array.dtype.kind not in "uifb":
        yield f"{name} have dtype {array.dtype}, not a numeric one"
    elif not array.size:
        yield f"{name} holds no samples"
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        yield f"{name} hold NaN or infinity"
