"""Outputs of the source that a model gives in parts, as applications see them: in one piece, in real values.

Computes what `skerry_agent.processing.join_outputs` does, without numpy; a test holds them equal.
"""

import math
from collections.abc import Sequence

from skerry_agent.runner.real_values import dequantized, real_spec
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import Bundle, Join, TensorSpec


class Outputs:
    """All that a bundle gives, by place: first the model's own outputs, then those that are joined from some."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.specs = (*bundle.outputs, *(joined_spec(bundle.outputs, join) for join in bundle.joins))

    @property
    def whole(self) -> list[int]:
        """The places of what the source gives, in its order."""
        count = len(self._bundle.outputs)
        first = {join.parts[0]: count + at for at, join in enumerate(self._bundle.joins)}
        inner = {part for join in self._bundle.joins for part in join.parts[1:]}
        return [first.get(place, place) for place in range(count) if place not in inner]

    @property
    def of_classes(self) -> int:
        """The place of the output that has a value for each class."""
        spec, task = self._bundle.postprocess, self._bundle.task
        named = spec.decoder == "classes" or task in {"multilabel", "events"}
        at = spec.output if named else 0
        return self.whole[at] if at < len(self.whole) else 0

    def join_of(self, place: int) -> Join | None:
        """How the output is joined, None for one of the model's own."""
        count = len(self._bundle.outputs)
        return self._bundle.joins[place - count] if place >= count else None

    def real(self, row: Sequence[Tensor], place: int) -> Tensor:
        """An output's real values, of what the model gave for one row."""
        join = self.join_of(place)
        if join is None:
            return dequantized(row[place], self._bundle.outputs[place])
        parts = [dequantized(row[part], self._bundle.outputs[part]) for part in join.parts]
        return joined_tensor(parts, join.axis)


def joined_spec(outputs: Sequence[TensorSpec], join: Join) -> TensorSpec:
    """The form of a joined output: that of its parts, as long as all of them together along the axis."""
    parts = [real_spec(outputs[part]) for part in join.parts]
    shape = list(parts[0].shape)
    shape[join.axis] = sum(part.shape[join.axis] for part in parts)
    return TensorSpec(join.name, parts[0].dtype, tuple(shape))


def joined_tensor(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors of one dtype, one after the other along an axis."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    rows = math.prod(shape[:axis])
    data = [memoryview(part.data).cast("B") for part in parts]
    sizes = [len(one) // rows if rows else 0 for one in data]
    pieces = [one[row * size : (row + 1) * size] for row in range(rows) for one, size in zip(data, sizes, strict=True)]
    return Tensor(parts[0].dtype, tuple(shape), b"".join(pieces))
