"""What each operator costs: multiply-adds and bytes moved, from shapes alone. Pure; measures no time.

Bytes are the least that must move: every input, output and parameter once.
"""

from collections.abc import Callable
from math import prod

from msgspec import Struct

from skerry_host.build.graph import Graph, Op, Tensor

_BYTES = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8, "float64": 8}
_PER_OUTPUT = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX", "RELU")


class Cost(Struct, frozen=True):
    """One operator: multiply-adds, bytes of activations and of parameters."""

    index: int
    op: str
    tensor: str
    macs: int
    activation_bytes: int
    parameter_bytes: int
    integer: bool

    @property
    def bytes(self) -> int:
        """All that must move."""
        return self.activation_bytes + self.parameter_bytes

    @property
    def intensity(self) -> float:
        """Operations (two a multiply-add) for each byte."""
        return 2 * self.macs / self.bytes if self.bytes else 0.0


def costs(graph: Graph) -> list[Cost]:
    """The cost of every operator, in order."""
    return [_cost(graph, op) for op in graph.ops]


def _cost(graph: Graph, op: Op) -> Cost:
    inputs = [graph.tensors[i] for i in op.inputs]
    outputs = [graph.tensors[i] for i in op.outputs]
    activations = [t for t in inputs if not t.constant_bytes] + outputs
    return Cost(
        index=op.index,
        op=op.name,
        tensor=outputs[0].name.partition(";")[0] if outputs else "",
        macs=_macs(op.name, inputs, outputs),
        activation_bytes=sum(_size(t) for t in activations),
        parameter_bytes=sum(t.constant_bytes for t in inputs),
        integer=bool(outputs) and not outputs[0].dtype.startswith("float"),
    )


def _macs(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Multiply-adds by the operator's definition; 0 for those that only move values."""
    count = _COUNTS.get(name)
    try:
        return count([t.shape for t in inputs], prod(outputs[0].shape)) if count and outputs else 0
    except IndexError:  # an input that the definition has is missing here
        return 0


Shapes = list[tuple[int, ...]]


def _window(inputs: Shapes, _out: int) -> int:
    """As many as there are values to look at: at least, where windows overlap (their size is no shape)."""
    return prod(inputs[0])


_COUNTS: dict[str, Callable[[Shapes, int], int]] = {
    "CONV_2D": lambda inputs, out: out * prod(inputs[1][1:]),  # weights (O, H, W, I)
    "DEPTHWISE_CONV_2D": lambda inputs, out: out * inputs[1][1] * inputs[1][2],  # (1, H, W, C)
    "FULLY_CONNECTED": lambda inputs, out: out * inputs[1][1],  # (O, I)
    "TRANSPOSE_CONV": lambda inputs, _out: prod(inputs[2]) * prod(inputs[1][:3]),  # shape, weights, input
    "BATCH_MATMUL": lambda inputs, out: out * inputs[0][-1],
    **dict.fromkeys(("MEAN", "SUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "REDUCE_MAX"), _window),
    **dict.fromkeys(_PER_OUTPUT, lambda _inputs, out: out),
}


def _size(tensor: Tensor) -> int:
    return prod(tensor.shape) * _BYTES.get(tensor.dtype, 1)
