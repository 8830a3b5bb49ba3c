"""Rewrites of a float TFLite graph that keep what it computes and let the quantizer take all of it.

Each changes a `schema.ModelT` in place and says what it did, or None. `normalise` decides which are applied.
"""

from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.parts import NONE, RELU6, add_buffer, code_of, copy_tensor, multiply_constant

_FLOAT16, _FLOAT32 = schema.TensorType.FLOAT16, schema.TensorType.FLOAT32
_ACTIVATIONS = {"RELU": schema.ActivationFunctionType.RELU, "RELU6": RELU6}
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Which input of an operator is its bias."""
_FUSING = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL"}


def fold_float16(model: Any) -> str | None:
    """Make float32 constants of float16 ones that a DEQUANTIZE widens: the quantizer knows no float16 weights."""
    main = model.subgraphs[0]
    kept, folded = [], 0
    for op in main.operators or []:
        values = _half_constant(model, main, op)
        if values is None:
            kept.append(op)
            continue
        out = main.tensors[op.outputs[0]]
        out.type, out.buffer = _FLOAT32, add_buffer(model, values.astype(np.float32))
        folded += 1
    main.operators = kept
    _drop_unread(model, main, _FLOAT16)
    return f"{folded} float16 weights widened" if folded else None


def flatten_biases(model: Any) -> str | None:
    """Give biases one axis: converters leave (1, 1, 1, n) behind, which the quantizer does not take."""
    main = model.subgraphs[0]
    flat = 0
    for op in main.operators or []:
        place = _BIAS.get(op_name(model.operatorCodes[op.opcodeIndex]))
        if place is None or place >= len(op.inputs) or op.inputs[place] < 0:
            continue
        bias = main.tensors[op.inputs[place]]
        if bias.shape is not None and len(bias.shape) > 1:
            bias.shape, bias.shapeSignature = np.array([np.prod(bias.shape)], np.int32), None
            flat += 1
    return f"{flat} biases flattened" if flat else None


def fuse_clamps(model: Any) -> str | None:
    """Let the operator before do a stand-alone RELU or RELU6, and give the rest of the clamps an int8 kernel in a MUL.

    A fused clamp spends no steps of the integers on what it cuts. clip(x, 0, 6) = RELU6(1 x), and
    clip(x, 0, 1) = RELU6(6 x) / 6; stand-alone these two have no int8 kernel.
    """
    main = model.subgraphs[0]
    names = [op_name(code) for code in model.operatorCodes]
    readers = Counter(int(i) for op in main.operators or [] for i in op.inputs) + Counter(map(int, main.outputs))
    writers: dict[int, Any] = {}
    made, changed = [], 0
    for op in main.operators or []:
        name = names[op.opcodeIndex]
        if name in _ACTIVATIONS and _fuse(op, writers, readers, names):
            writers[int(op.outputs[0])] = writers.pop(int(op.inputs[0]))
            changed += 1
            continue
        if name in {"RELU6", "RELU_0_TO_1"}:
            parts = _as_mul(model, main, op, unit=name == "RELU_0_TO_1")
            names = [op_name(code) for code in model.operatorCodes]
            changed += 1
        else:
            parts = [op]
        made += parts
        writers |= {int(i): part for part in parts for i in part.outputs}
    main.operators = made
    return f"{changed} clamps fused or rewritten" if changed else None


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


def _half_constant(model: Any, main: Any, op: Any) -> Any:
    """The float16 values that an operator widens, None if it does something else."""
    if op_name(model.operatorCodes[op.opcodeIndex]) != "DEQUANTIZE":
        return None
    tensor = main.tensors[op.inputs[0]]
    data = model.buffers[tensor.buffer].data
    if tensor.type != _FLOAT16 or data is None or not len(data):
        return None
    return np.asarray(data, np.uint8).view(np.float16)


def _drop_unread(model: Any, main: Any, dtype: int) -> None:
    """Empty the constants of a type that no operator reads any more."""
    read = {int(i) for op in main.operators for i in op.inputs} | set(map(int, main.outputs))
    kept = {t.buffer for at, t in enumerate(main.tensors) if at in read or t.type != dtype}
    for tensor in main.tensors:
        if tensor.type == dtype and tensor.buffer not in kept:
            model.buffers[tensor.buffer].data = None


def _fuse(op: Any, writers: dict[int, Any], readers: "Counter[int]", names: list[str]) -> bool:
    """Let the operator before do the clamp, if it can and nobody else reads what it writes."""
    read = int(op.inputs[0])
    before = writers.get(read)
    if before is None or readers[read] != 1 or names[before.opcodeIndex] not in _FUSING:
        return False
    options = before.builtinOptions
    if options is None or options.fusedActivationFunction != NONE:
        return False
    options.fusedActivationFunction = _ACTIVATIONS[names[op.opcodeIndex]]
    before.outputs = op.outputs
    return True


def _as_mul(model: Any, main: Any, op: Any, *, unit: bool) -> list[Any]:
    read, written = int(op.inputs[0]), int(op.outputs[0])
    if not unit:
        return [multiply_constant(model, main, (read, written), 1.0, RELU6)]
    between = copy_tensor(main, written, b"/times6")
    return [
        multiply_constant(model, main, (read, between), 6.0, RELU6),
        multiply_constant(model, main, (between, written), 1 / 6),
    ]
