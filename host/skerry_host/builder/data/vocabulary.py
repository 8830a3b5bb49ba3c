"""Whether the whole numbers of samples are what a model can take: ids that are rows of its tables. Runs no model."""

from collections.abc import Iterator, Sequence

import numpy as np

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.modelfile.tables import table_rows
from skerry_host.builder.recipe.errors import RecipeError

WHOLE = {"int32", "int64", "bool"}


def require_known_ids(data: DataSet, feeding: Feeding, graph: Graph, recipe: str) -> None:
    """Raise `RecipeError` where samples hold ids that are no row of the table that the model looks them up in."""
    sets = {"calibration": data.calibration, "evaluation": data.evaluation}
    issues = [issue for what, samples in sets.items() for issue in _outside(what, samples, feeding, graph)]
    if issues:
        hint = "use the vocabulary that the model was trained with: its size, and the id for words outside of it"
        raise RecipeError(f"data of recipe {recipe}", issues, hint=hint, code="vocabulary")


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


def _outside(what: str, samples: Samples, feeding: Feeding, graph: Graph) -> Iterator[str]:
    inputs, rows = graph.input_specs(), table_rows(graph)
    for at, place in enumerate(feeding.brought(inputs)):
        name = inputs[place].name
        if name not in rows:
            continue
        low, high = _span(samples, at)
        if low < 0 or high >= rows[name]:
            yield (
                f"{what}: input {name} holds ids from {low} to {high}, but the model's table has {rows[name]:,} rows: "
                f"ids are 0 to {rows[name] - 1}"
            )


def _span(samples: Samples, at: int) -> tuple[int, int]:
    """The least and the largest id, one sample at a time."""
    found = [(int(sample[at].min()), int(sample[at].max())) for sample in samples if sample[at].size]
    spans = np.array(found or [(0, 0)])
    return int(spans[:, 0].min()), int(spans[:, 1].max())
