"""Finds the lists that a loop's body fills row by row: the converter's form of a tensor list. Changes nothing.

CONCATENATION(list[:i], row, list[i + 1:]) along the first axis, with `list` carried from round to round.
"""

from dataclasses import dataclass
from typing import Any

from skerry_host.builder.modelfile.graph import op_name


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list at a `place` among what is carried: the tensor of its `row`, and of where the rest of it begins.

    `parts` are the places of the operators that only move it.
    """

    place: int
    row: int
    begin: int
    parts: tuple[int, ...]


def written_lists(model: Any, body: Any) -> list[WrittenList]:
    """Every such list of a loop's body."""
    writers = {int(i): at for at, op in enumerate(body.operators) for i in op.outputs}
    found = []
    for place, (before, after) in enumerate(zip(map(int, body.inputs), map(int, body.outputs), strict=True)):
        one = _written(model, body, writers, (place, before, after))
        if one is not None:
            found.append(one)
    return found


def _written(model: Any, body: Any, writers: dict[int, int], io: tuple[int, int, int]) -> WrittenList | None:
    place, before, after = io
    at = writers.get(after)
    if at is None or _name(model, body, at) != "CONCATENATION" or body.operators[at].builtinOptions.axis != 0:
        return None
    first, row, rest = (int(i) for i in body.operators[at].inputs) if len(body.operators[at].inputs) == 3 else (-1,) * 3
    ends = [writers.get(first, -1), writers.get(rest, -1)]
    if any(end < 0 or _name(model, body, end) != "SLICE" for end in ends):
        return None
    if any(int(body.operators[end].inputs[0]) != before for end in ends):
        return None
    readers = [n for n, op in enumerate(body.operators) if before in {int(i) for i in op.inputs}]
    if sorted(readers) != sorted(ends):
        return None
    return WrittenList(place, row, int(body.operators[ends[1]].inputs[1]), (at, *ends))


def _name(model: Any, body: Any, at: int) -> str:
    return op_name(model.operatorCodes[body.operators[at].opcodeIndex])
