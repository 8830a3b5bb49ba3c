"""Writes grouped convolutions of a `schema.ModelT` as depthwise ones, where they are."""

from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.parts import code_of

_FLOAT32 = schema.TensorType.FLOAT32


def grouped_to_depthwise(model: Any) -> str | None:
    """Write convolutions of as many groups as channels as what they are: converters leave those of unequal strides.

    A filter (channels * m, H, W, 1) becomes (1, H, W, channels * m), m the depth multiplier. Grouped CONV_2D came with
    version 6, which neither old runtimes nor the Edge TPU compiler know.
    """
    main = model.subgraphs[0]
    readers = Counter(int(i) for op in main.operators or [] for i in op.inputs)
    holders = Counter(tensor.buffer for tensor in main.tensors)
    done = 0
    for op in main.operators or []:
        if op_name(model.operatorCodes[op.opcodeIndex]) != "CONV_2D":
            continue
        weights = main.tensors[op.inputs[1]]
        channels = int(main.tensors[op.inputs[0]].shape[-1])
        alone = readers[int(op.inputs[1])] == 1 and holders[weights.buffer] == 1
        if alone and weights.type == _FLOAT32 and channels > 1 and weights.shape[3] == 1:
            _as_depthwise(model, op, weights, channels)
            done += 1
    return f"{done} grouped convolutions written as depthwise ones" if done else None


def _as_depthwise(model: Any, op: Any, weights: Any, channels: int) -> None:
    filters, height, width, _one = (int(n) for n in weights.shape)
    old, options = op.builtinOptions, schema.DepthwiseConv2DOptionsT()
    for name in ("padding", "strideW", "strideH", "dilationWFactor", "dilationHFactor", "fusedActivationFunction"):
        setattr(options, name, getattr(old, name))
    options.depthMultiplier = filters // channels
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.DepthwiseConv2DOptions, options
    op.opcodeIndex = code_of(model, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    values = np.asarray(model.buffers[weights.buffer].data, np.uint8).view(np.float32).reshape(filters, height, width)
    moved = np.ascontiguousarray(values.transpose(1, 2, 0))
    model.buffers[weights.buffer].data = np.frombuffer(moved.tobytes(), np.uint8)
    weights.shape, weights.shapeSignature = np.array([1, height, width, filters], np.int32), None
