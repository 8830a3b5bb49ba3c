"""The layers that `keep_float` and `int16_layers` mean, found in a model. Changes nothing."""

from collections.abc import Collection, Sequence

from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.modelfile.islands import layer_names, named, scope
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


def outliving(graph: Graph, patterns: Sequence[str], kinds: Collection[str]) -> tuple[str, ...]:
    """The same layers by names that still mean them where operators of some kinds are written as others.

    What such an operator writes keeps its name; a pattern that means no other layers is left out.
    """
    found = named(graph, patterns)
    names: dict[str, None] = {}
    for pattern in patterns:
        gone = [scope(graph, op) for op in found[pattern] if op.name in kinds]
        names |= dict.fromkeys(gone if gone and len(gone) == len(found[pattern]) else [pattern, *gone])
    return tuple(names)
