"""The values that a release's golden inputs cover: tells a model that fails from one that is given nonsense.

Looked at only after an inference has failed or given NaN, so it costs a good one nothing. A float of 3e38 overflows in
any model, and an index of 999,999 is in no vocabulary; neither says anything of the release. Says nothing of the shape.
"""

from collections.abc import Sequence

from msgspec import Struct

from skerry_agent.runner.golden import GoldenSamples
from skerry_agent.runner.tensor import Tensor

FLOAT_MARGIN = 10.0
"""Floats may be so many times farther from 0 than any golden one: sensors have outliers."""
UNKNOWN_LIMIT = 1e6
"""Of floats, where there are no golden inputs."""
_NARROW = {"bool", "int8", "uint8"}
"""Every value of these is usual."""


class Span(Struct, frozen=True):
    """The smallest and the largest value."""

    low: float
    high: float


UNKNOWN = Span(-UNKNOWN_LIMIT, UNKNOWN_LIMIT)


class UsualInputs:
    """What the golden inputs cover, one span for each input; nothing is known without golden inputs."""

    def __init__(self, golden: GoldenSamples | None = None) -> None:
        columns = golden.inputs if golden is not None else ()
        self._spans = [_span([column.tensor(i) for i in range(len(column.rows))]) for column in columns]

    def outside(self, inputs: Sequence[Tensor]) -> bool:
        """Whether a value of these is far from all that was recorded, so that a failure is the input's."""
        return self.strange(inputs) is not None

    def strange(self, inputs: Sequence[Tensor]) -> int | None:
        """The place of the first input that holds such a value, None where all are usual."""
        spans = self._spans or [UNKNOWN if tensor.is_float else None for tensor in inputs]
        pairs = enumerate(zip(inputs, spans, strict=False))
        return next((at for at, (tensor, span) in pairs if span is not None and _outside(tensor, span)), None)


def _span(tensors: Sequence[Tensor]) -> Span | None:
    """None where every value is usual."""
    if not tensors or tensors[0].dtype in _NARROW or not tensors[0].size:
        return None
    found = Span(min(min(t.values()) for t in tensors), max(max(t.values()) for t in tensors))
    if not tensors[0].is_float:
        return found
    reach = FLOAT_MARGIN * max(abs(found.low), abs(found.high), 1.0)
    return Span(-reach, reach)


def _outside(tensor: Tensor, span: Span) -> bool:
    values = tensor.values()
    return bool(values) and bool(min(values) < span.low or max(values) > span.high)
