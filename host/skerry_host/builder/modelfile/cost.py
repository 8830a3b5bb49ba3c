"""What each operator costs: multiply-adds and bytes moved, from shapes alone. Pure; measures no time.

Bytes are the least that must move: every input, output and parameter once.
"""

from collections.abc import Callable, Mapping
from math import prod

from msgspec import Struct

from skerry_host.builder.modelfile.graph import Graph, Op, Tensor

_BYTES = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8, "float64": 8}
_PER_OUTPUT = (
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "SQRT", "RSQRT", "EXP", "POW"),
    *(
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "LEAKY_RELU",
        "PRELU",
        "ELU",
        "GELU",
        "HARD_SWISH",
        "LOGISTIC",
        "TANH",
        "SOFTMAX",
    ),
    *("LOG_SOFTMAX", "L2_NORMALIZATION", "QUANTIZE", "DEQUANTIZE"),
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Sqrt", "Exp", "Pow", "Relu", "Clip", "LeakyRelu", "PRelu", "Elu"),
    *("Gelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Softmax", "BatchNormalization"),
)
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
"""ONNX: no operators of the runtime's, which fuses them into those between."""


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
    stored = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name == "DequantizeLinear"}
    return [_cost(graph, op, stored) for op in graph.ops if op.name not in _ROUNDING]


def _cost(graph: Graph, op: Op, stored: Mapping[int, int]) -> Cost:
    """`stored`: for a value that ONNX widens to compute with, the integers that move."""
    inputs = [graph.tensors[stored.get(i, i)] for i in op.inputs]
    outputs = [graph.tensors[i] for i in op.outputs]
    activations = [t for t in inputs if not t.constant_bytes] + outputs
    return Cost(
        index=op.index,
        op=op.name,
        tensor=outputs[0].name.partition(";")[0] if outputs else "",
        macs=_macs(op, inputs, outputs),
        activation_bytes=sum(size(t) for t in activations),
        parameter_bytes=sum(t.constant_bytes for t in inputs),
        integer=bool(outputs) and not outputs[0].dtype.startswith("float"),
    )


def _macs(op: Op, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Multiply-adds by the operator's definition; 0 for those that only move values."""
    count = _COUNTS.get(op.name)
    try:
        return count([t.shape for t in inputs], prod(outputs[0].shape), op.window) if count and outputs else 0
    except IndexError:  # an input that the definition has is missing here
        return 0


Shapes = list[tuple[int, ...]]
_Count = Callable[[Shapes, int, int], int]
"""From the inputs' shapes, the number of output values, and how many values each of a pool's looks at."""

_COUNTS: dict[str, _Count] = {
    "CONV_2D": lambda inputs, out, _: out * prod(inputs[1][1:]),  # weights (O, H, W, I)
    "DEPTHWISE_CONV_2D": lambda inputs, out, _: out * inputs[1][1] * inputs[1][2],  # (1, H, W, C)
    "CONV_3D": lambda inputs, out, _: out * prod(inputs[1][:4]),  # (D, H, W, I, O)
    "FULLY_CONNECTED": lambda inputs, out, _: out * inputs[1][1],  # (O, I)
    "TRANSPOSE_CONV": lambda inputs, *_: prod(inputs[2]) * prod(inputs[1][:3]),  # shape, weights, input
    "BATCH_MATMUL": lambda inputs, out, _: out * inputs[0][-1],
    "SVDF": lambda inputs, *_: prod(inputs[1]) + prod(inputs[2]),  # (filters, features), (filters, memory)
    "Conv": lambda inputs, out, _: out * prod(inputs[1][1:]),  # (O, I, H, W)
    "ConvTranspose": lambda inputs, *_: prod(inputs[0]) * prod(inputs[1][1:]),  # (I, O, H, W)
    **dict.fromkeys(("Gemm", "MatMul"), lambda inputs, out, _: out * inputs[0][-1]),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum"),
        lambda inputs, *_: prod(inputs[0]),
    ),
    **dict.fromkeys(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "AveragePool", "MaxPool"),
        lambda _inputs, out, window: out * window,
    ),
    **dict.fromkeys(("RESIZE_BILINEAR", "Resize"), lambda _inputs, out, _: 4 * out),  # four neighbours each
    **dict.fromkeys(_PER_OUTPUT, lambda _inputs, out, _: out),
}


def size(tensor: Tensor) -> int:
    """The bytes of a tensor."""
    return prod(tensor.shape) * _BYTES.get(tensor.dtype, 1)
