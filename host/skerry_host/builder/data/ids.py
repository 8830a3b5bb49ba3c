"""Whether ids in samples are rows of the model's tables: a runtime that looks behind the last one fails, or lies.

Knows no model: `modelfile.vocabulary` says how many rows there are.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.recipe.errors import RecipeError

WHOLE = {"int32", "int64", "bool"}


def require_known(data: DataSet, rows: Mapping[int, int], names: Mapping[int, str], recipe: str) -> None:
    """Raise `RecipeError` (data) where an id is outside of its table; `rows` and `names` by the place in a sample."""
    issues = [
        issue
        for part, samples in (("calibration", data.calibration), ("evaluation", data.evaluation))
        for place, count in rows.items()
        if (issue := _problem(samples, place, count, f"{part} samples: input {names[place]}"))
    ]
    if issues:
        hint = "use the vocabulary that the model was trained with, and its id for unknown words"
        raise RecipeError(f"data of recipe {recipe}", issues, hint=hint, code="data")


def require_unscaled(feeding: Feeding, inputs: Sequence[TensorSpec], recipe: str) -> None:
    """Raise `RecipeError` where a recipe preprocesses ids, masks or lengths: another number is another word."""
    plain = Preprocess()
    changed = [
        tensor.name
        for place, tensor in enumerate(inputs)
        if tensor.dtype in WHOLE and not tensor.scale and feeding.at(place) != plain
    ]
    if changed:
        issues = [f"input {name} takes whole numbers (ids, a mask, lengths), which are not scaled" for name in changed]
        hint = "leave out [preprocess], or write what another input needs as [inputs.NAME]"
        raise RecipeError(f"recipe {recipe}", issues, hint=hint, code="inputs")


def _problem(samples: Samples, place: int, count: int, where: str) -> str:
    ends = np.array(
        [(part.min(), part.max()) for at in range(len(samples)) if (part := samples.inputs[at][place]).size]
    )
    if not len(ends):
        return ""
    low, high = int(ends[:, 0].min()), int(ends[:, 1].max())
    outside = int(((ends[:, 0] < 0) | (ends[:, 1] >= count)).sum())
    if not outside:
        return ""
    known = f"the model's table has {count} rows, 0 to {count - 1}"
    return f"{where} has ids from {low} to {high} in {outside} samples, {known}"
