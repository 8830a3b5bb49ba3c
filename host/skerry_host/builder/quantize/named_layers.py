"""The layers that `keep_float` and `int16_layers` mean, found in a model. Changes nothing."""

from collections.abc import Sequence

from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.modelfile.islands import layer_names, named
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.nearest import did_you_mean


def meant(graph: Graph, patterns: Sequence[str]) -> list[Op]:
    """The operators that a recipe's names mean, in their order; raises `ModelError` for a name that means none."""
    found = named(graph, patterns)
    for pattern in patterns:
        if not found[pattern]:
            near = did_you_mean(pattern, layer_names(graph))
            raise ModelError(
                f"the model has no layer {pattern!r}{near}",
                hint="`skerry model profile FILE --by operators` lists them; patterns with * and ? are taken",
                code="no_layer",
            )
    places = {op.index for ops in found.values() for op in ops}
    return [op for op in graph.ops if op.index in places]
