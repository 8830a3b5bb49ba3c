"""Orders of axes: how a tensor of TFLite holds a value whose axes ONNX counts otherwise. Pure.

An *order* says for each axis of the tensor which axis of the value it holds; `UNIT` is an axis of size 1 that the
value does not have. Planes (N, C, H, W) held as pixels (N, H, W, C) have the order (0, 2, 3, 1).
"""

from collections.abc import Sequence
from math import prod

UNIT = -1
Order = tuple[int, ...]
Shape = tuple[int, ...]


def plain(rank: int) -> Order:
    """The order of ONNX itself."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Batch, space, channels: (0, 2, 3, 1) for planes."""
    return (0, *range(2, rank), 1)


def held(shape: Sequence[int], order: Order) -> Shape:
    """The tensor's shape for a value's."""
    return tuple(1 if axis == UNIT else int(shape[axis]) for axis in order)


def same_in_memory(shape: Sequence[int], one: Order, other: Order) -> bool:
    """Whether the elements lie in the same sequence in both orders: only axes of size 1 have other places."""
    kept = [[axis for axis in order if axis != UNIT and shape[axis] != 1] for order in (one, other)]
    return kept[0] == kept[1]


def permutation(one: Order, other: Order) -> list[int]:
    """The TRANSPOSE that turns a tensor of one order into one of the other; both have as many `UNIT`s."""
    units = [at for at, axis in enumerate(one) if axis == UNIT]
    return [units.pop(0) if axis == UNIT else one.index(axis) for axis in other]


def of_axes(order: Order) -> Order:
    """An order without its `UNIT`s."""
    return tuple(axis for axis in order if axis != UNIT)


def without(order: Order, axes: Sequence[int]) -> Order:
    """The order of a value that has lost some axes."""
    left = sorted({axis for axis in order if axis != UNIT} - set(axes))
    place = {axis: at for at, axis in enumerate(left)}
    return tuple(place[axis] for axis in order if axis in place)


def reshaped(shape: Shape, order: Order, wanted: Shape) -> Order | None:
    """The order in which the same memory holds the value in another shape; None if it must be moved first.

    Axes are matched in the smallest groups of equal product, as (C) with (groups, C / groups); each group must lie
    together and in sequence in the tensor.
    """
    groups = _groups(shape, wanted)
    if groups is None:
        return None
    sequence = [axis for axis in order if axis != UNIT and shape[axis] != 1]
    made: list[int] = []
    at = 0
    while at < len(sequence):
        before, after = next(group for group in groups if sequence[at] in group[0])
        if sequence[at : at + len(before)] != before:
            return None
        made += after
        at += len(before)
    return tuple(_with_units(made, wanted))


def _groups(shape: Shape, wanted: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Axes of both shapes, those of size 1 left out, in the smallest groups of equal product."""
    left = [axis for axis, size in enumerate(shape) if size != 1]
    right = [axis for axis, size in enumerate(wanted) if size != 1]
    if prod(shape) != prod(wanted) or 0 in shape:
        return None
    groups = []
    while left:
        before, after = [left.pop(0)], [right.pop(0)]
        while (one := prod(shape[a] for a in before)) != (other := prod(wanted[a] for a in after)):
            if one < other:
                before.append(left.pop(0))
            else:
                after.append(right.pop(0))
        groups.append((before, after))
    return groups


def _with_units(order: list[int], wanted: Shape) -> list[int]:
    """The order with the axes of size 1 put in: leading ones in front, others before the next axis or at the end."""
    made = list(order)
    leading = min(order, default=0)
    for axis in reversed(range(len(wanted))):
        if axis < leading:
            made.insert(0, axis)
        elif axis not in made:
            after = [made.index(later) for later in range(axis + 1, len(wanted)) if later in made]
            made.insert(after[0] if after else len(made), axis)
    return made
