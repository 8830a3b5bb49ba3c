"""Compares a prediction with what the compiler did with the same model, operator by operator. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from skerry_host.builder.edgetpu.inspect import Inspection
from skerry_host.builder.edgetpu.preflight import Predicted, Preflight


class Comparison(Struct, frozen=True):
    """Where prediction and compiler differ, by indices in the source model.

    `strange` counts CPU operators of the compiled file that the source does not have.
    """

    predicted_cpu: int
    actual_cpu: int
    mapped_after_all: tuple[int, ...]
    left_on_cpu: tuple[int, ...]
    strange: int

    @property
    def equal(self) -> bool:
        """Whether the prediction was right for every operator."""
        return not self.mapped_after_all and not self.left_on_cpu and not self.strange


def compare(predicted: Preflight, compiled: Sequence[Inspection]) -> Comparison:
    """Compare with the compiled file, or with all segments of a pipeline.

    An operator is recognised by its kind and the name of its first output, which the compiler keeps.
    """
    actual, strange = _actual_cpu(predicted.all, compiled)
    expected = {item.index for item in predicted.unmapped}
    return Comparison(
        predicted_cpu=len(expected),
        actual_cpu=len(actual) + strange,
        mapped_after_all=tuple(sorted(expected - actual)),
        left_on_cpu=tuple(sorted(actual - expected)),
        strange=strange,
    )


def _actual_cpu(source: Iterable[Predicted], compiled: Sequence[Inspection]) -> tuple[set[int], int]:
    """The source's operators that stayed on the CPU, and how many others stand in the compiled file."""
    left = Counter(key for part in compiled for key in zip(part.cpu_ops, part.cpu_outputs, strict=True))
    found = set()
    for item in source:
        key = (item.op, item.output)
        if left[key] > 0:
            left[key] -= 1
            found.add(item.index)
    return found, left.total()
