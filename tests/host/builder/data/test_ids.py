"""Ids in samples must be rows of the model's tables; which inputs are ids is read from the graph."""

import numpy as np
import pytest

from skerry_host.builder.data.ids import require_known
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.modelfile.graph import Graph, Op, Tensor
from skerry_host.builder.modelfile.vocabulary import vocabularies
from skerry_host.builder.recipe.errors import RecipeError


def tensor(index: int, dtype: str, shape, constant: int = 0) -> Tensor:
    return Tensor(index, f"t{index}", dtype, shape, shape, constant)


def embedding(*, cast: bool = True, operator: str = "GATHER") -> Graph:
    """Input 0 is of real values; input 1 of ids, cast and looked up in a table of 100 rows."""
    tensors = (
        tensor(0, "float32", (1, 8)),
        tensor(1, "int32", (1, 24)),
        tensor(2, "int32", (1, 24)),
        tensor(3, "float32", (100, 16), 6400),
        tensor(4, "float32", (1, 24, 16)),
    )
    ids = 2 if cast else 1
    order = (3, ids) if operator == "GATHER" else (ids, 3)
    ops = [Op(0, "CAST", 1, False, (1,), (2,))] if cast else []
    return Graph(1, tensors, (*ops, Op(len(ops), operator, 1, False, order, (4,))), (0, 1), (4,))


@pytest.mark.parametrize(
    "graph", [embedding(), embedding(cast=False), embedding(operator="EMBEDDING_LOOKUP", cast=False)]
)
def test_inputs_of_ids_are_found_with_the_rows_of_their_table(graph: Graph):
    assert vocabularies(graph) == {1: 100}


def test_what_is_looked_up_in_what_the_model_computes_is_no_vocabulary():
    graph = embedding()
    computed = tuple(t if t.index != 3 else tensor(3, "float32", (100, 16)) for t in graph.tensors)
    assert vocabularies(Graph(1, computed, graph.ops, graph.inputs, graph.outputs)) == {}


def samples(most: int) -> Samples:
    ids = np.arange(48).reshape(2, 24).astype(np.int64)
    ids[1, 3] = most
    return Samples([(np.zeros(8, np.float32), row) for row in ids])


def test_ids_outside_of_the_vocabulary_are_named_with_its_size():
    """They were told as: gather index out of bounds."""
    with pytest.raises(RecipeError) as refused:
        require_known(DataSet(samples(99), samples(100)), {1: 100}, {1: "tokens"}, "words")
    (issue,) = refused.value.issues
    assert issue.startswith("evaluation samples: input tokens has ids from 0 to 100 in 1 samples")
    assert "100 rows, 0 to 99" in issue
    assert "vocabulary" in refused.value.hint


def test_ids_inside_are_no_problem():
    require_known(DataSet(samples(99), samples(0)), {1: 100}, {1: "tokens"}, "words")
