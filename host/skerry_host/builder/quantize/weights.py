"""The weights and biases of convolutions and dense layers in a `schema.ModelT`: read and replaced as arrays. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import has_values
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.tflite import text

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
TRANSPOSED = "TRANSPOSE_CONV"
_PLACES = {TRANSPOSED: (2, 1, 3)}
"""Of the input, the weights and the bias among what an operator reads."""
_DTYPES = {"float32": np.float32, "int8": np.int8, "int32": np.int32, "int64": np.int64}


@dataclass(frozen=True, slots=True)
class WeightedLayer:
    """One operator with weights of its own: tensor indices; `bias` is None where there is none."""

    position: int
    kind: str
    input: int
    weight: int
    bias: int | None
    output: int
    options: Any

    @property
    def out_axis(self) -> int:
        """The axis of the weights that counts output channels: (O, H, W, I), (1, H, W, C) or (O, I)."""
        return 3 if self.kind == "DEPTHWISE_CONV_2D" else 0

    @property
    def in_axis(self) -> int:
        """The axis of the weights that counts input channels."""
        return 1 if self.kind == "FULLY_CONNECTED" else 3


def weighted(model: Any, kinds: Sequence[str] = KINDS) -> Iterator[WeightedLayer]:
    """The layers of the main graph whose weights and bias are constants that nothing else uses."""
    main = model.subgraphs[0]
    users = Counter(int(i) for op in main.operators for i in op.inputs if i >= 0)
    holders = Counter(tensor.buffer for tensor in main.tensors)
    for position, op in enumerate(main.operators):
        kind = op_name(model.operatorCodes[op.opcodeIndex])
        inputs = [int(i) for i in op.inputs]
        read, weight, last = _PLACES.get(kind, (0, 1, 2))
        if kind not in kinds or len(inputs) <= max(read, weight):
            continue
        bias = inputs[last] if len(inputs) > last and inputs[last] >= 0 else None
        own = [index for index in (inputs[weight], bias) if index is not None]
        if all(users[i] == 1 and holders[main.tensors[i].buffer] == 1 and has_values(model, i) for i in own):
            yield WeightedLayer(
                position, kind, inputs[read], inputs[weight], bias, int(op.outputs[0]), op.builtinOptions
            )


def counterparts(
    source: Any, model: Any, kinds: Sequence[str] = KINDS
) -> Iterator[tuple[WeightedLayer, WeightedLayer]]:
    """The layers of a float model and of a quantized one of it that write what has the same name, and are of a kind."""
    floats = {_written(source, layer): layer for layer in weighted(source, kinds)}
    for layer in weighted(model, kinds):
        real = floats.get(_written(model, layer))
        if real is not None and real.kind == layer.kind:
            yield real, layer


def _written(model: Any, layer: WeightedLayer) -> str:
    return text(model.subgraphs[0].tensors[layer.output].name)


def by_output(scales: Any, layer: WeightedLayer, rank: int) -> Array:
    """Scales, one or one for each output, in a shape that multiplies the layer's weights, which have `rank` axes."""
    found = np.asarray(scales)
    shape = [1] * rank
    shape[layer.out_axis if len(found) > 1 else 0] = len(found)
    shaped: Array = found.reshape(shape)
    return shaped


def values(model: Any, index: int, dtype: str) -> Array:
    """A copy of a constant tensor's values in its shape."""
    tensor = model.subgraphs[0].tensors[index]
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(raw, _DTYPES[dtype]).reshape(tensor.shape).copy()


def replace(model: Any, index: int, array: Array) -> None:
    """Put an array of the same dtype and shape in place of a constant tensor's values."""
    tensor = model.subgraphs[0].tensors[index]
    model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


def real_weights(model: Any, layer: WeightedLayer) -> Array:
    """The int8 weights of a layer as real values: scale * (q - zero_point), by channel where scales are several."""
    form = model.subgraphs[0].tensors[layer.weight].quantization
    quantized = values(model, layer.weight, "int8").astype(np.float64)
    scale, zero = (by_output(one, layer, quantized.ndim).astype(np.float64) for one in (form.scale, form.zeroPoint))
    return (quantized - zero) * scale
