"""Orders of axes: what a tensor holds is always the value that was meant."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skerry_host.builder.lowering.order import channels_last, held, permutation, reshaped, same_in_memory, without

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(SHAPES, st.data())
def test_a_permutation_leads_from_one_order_to_the_other(shape, data):
    one, other = (tuple(data.draw(st.permutations(range(len(shape))))) for _ in "ab")
    value = np.arange(np.prod(shape)).reshape(shape)
    assert (value.transpose(one).transpose(permutation(one, other)) == value.transpose(other)).all()


@given(SHAPES, st.data())
def test_orders_that_are_alike_in_memory_need_no_move(shape, data):
    one, other = (tuple(data.draw(st.permutations(range(len(shape))))) for _ in "ab")
    value = np.arange(np.prod(shape)).reshape(shape)
    assume(same_in_memory(shape, one, other))
    assert (value.transpose(one).reshape(held(shape, other)) == value.transpose(other)).all()


@given(SHAPES, st.data())
def test_a_reshape_that_moves_nothing_holds_the_same_value(shape, data):
    """Wherever an order is found, the memory read in it is the reshaped value."""
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    wanted = tuple(data.draw(st.permutations(_other_factors(shape, data.draw(st.integers(0, 3))))))
    made = reshaped(tuple(shape), order, wanted)
    assume(made is not None)
    value = np.arange(np.prod(shape)).reshape(shape)
    assert sorted(made) == list(range(len(wanted)))
    assert (value.transpose(order).reshape(held(wanted, made)) == value.reshape(wanted).transpose(made)).all()


def _other_factors(shape, form):
    """Sizes of the same product: with neighbours joined, axes split, or ones added."""
    joined = [shape[0] * shape[1], *shape[2:]] if len(shape) > 1 else list(shape)
    split = [part for n in shape for part in ((2, 2) if n == 4 else (n,))]
    return [list(shape), joined, split, [*shape, 1]][form]


@pytest.mark.parametrize(
    ("shape", "wanted", "order"),
    [
        ((1, 6, 4, 5), (1, 6, 20), (0, 2, 1)),  # a map flattened: pixels stay pixels
        ((1, 12, 4, 5), (1, 3, 4, 4, 5), (0, 3, 4, 1, 2)),  # channels in groups
        ((1, 6, 4, 5), (1, 120), None),  # all of it flattened: must be moved
        ((1, 6, 1, 1), (1, 6), (0, 1)),
    ],
)
def test_pixels_are_kept_where_a_reshape_allows_it(shape, wanted, order):
    assert reshaped(shape, channels_last(4), wanted) == order


def test_a_reduced_value_has_its_axes_counted_anew():
    assert without((0, 2, 3, 1), (2, 3)) == (0, 1)
