"""Which operators end up together: the rule alone, on graphs of a few nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.builder.edgetpu.partition import OpNode, causes, partition

M, C = True, False


def works(*nodes: tuple[bool, set[int]]) -> list[OpNode]:
    return [OpNode(mappable, frozenset(sources)) for mappable, sources in nodes]


@pytest.mark.parametrize(
    ("name", "nodes", "mapped"),
    [
        ("all map", [(M, set()), (M, {0})], [0, 1]),
        ("none maps", [(C, set()), (C, {0})], []),
        ("what follows stays", [(M, set()), (C, {0}), (M, {1})], [0]),
        ("a leading float quantize does not end it", [(C, set()), (M, {0}), (M, {1})], [1, 2]),
        ("a parallel branch still maps", [(M, set()), (C, {0}), (M, {0}), (M, {2}), (M, {1, 3})], [0, 2, 3]),
        ("a branch from the input waits for nobody", [(C, set()), (M, set()), (M, {0})], [1, 2]),
        ("later in the file, ready from the start", [(M, set()), (C, {0}), (M, {1}), (M, set())], [0, 3]),
        ("nothing at all", [], []),
    ],
)
def test_the_first_epoch_of_mappable_operators_is_kept(
    name: str, nodes: list[tuple[bool, set[int]]], mapped: list[int]
) -> None:
    split = partition(works(*nodes))
    assert [i for i in range(len(nodes)) if split.mapped(i)] == mapped, name


def test_the_cause_is_the_first_ancestor_that_ended_the_mapping() -> None:
    graph = works((C, set()), (M, {0}), (C, {1}), (M, {2}), (C, {3}), (M, {4}))
    split = partition(graph)
    assert causes(graph, split)[2:] == [2, 2, 4, 2]


def test_a_cycle_ends_too() -> None:
    assert len(partition(works((M, {1}), (M, {0}))).epochs) == 2


def test_many_operators_that_alternate_take_no_quadratic_time() -> None:
    graph = works((M, set()), *((i % 2 == 0, {i - 1}) for i in range(1, 40_000)))
    assert partition(graph).epochs[-1] == 39_999


def test_a_file_may_list_operators_before_what_they_wait_for() -> None:
    assert partition(works((M, {2}), (C, {0}), (M, set()))).epochs == (0, 1, 0)


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 11))), max_size=12))
def test_every_operator_gets_an_epoch_and_none_before_its_sources(nodes: list[tuple[bool, set[int]]]) -> None:
    graph = works(*((mappable, {s for s in sources if s < i}) for i, (mappable, sources) in enumerate(nodes)))
    split = partition(graph)
    for i, work in enumerate(graph):
        assert all(split.epochs[source] <= split.epochs[i] for source in work.sources)
        assert not split.mapped(i) or work.mappable
