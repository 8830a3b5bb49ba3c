"""Writes MediaPipe's custom transposed convolution with a bias as TRANSPOSE_CONV and ADD, which every runtime has.

Its options are the bytes of TensorFlow Lite's `TfLiteTransposeConvParams`: padding (1 same, 2 valid), width and height
of the stride, int32 each (mediapipe/util/tflite/operations/transpose_conv_bias.cc).
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor
from skerry_host.builder.modelfile.parts import NONE, copy_tensor, operator
from skerry_host.builder.modelfile.replacing import replace_operators

CUSTOM = "Convolution2DTransposeBias"
_PADDING = {1: schema.Padding.SAME, 2: schema.Padding.VALID}
_B = schema.BuiltinOperator


def builtin_transpose_conv(model: Any) -> str | None:
    """Replace each one whose options are understood."""

    def two(name: str, op: Any) -> list[Any] | None:
        return _two(model, op) if name == CUSTOM and len(op.inputs) == 3 else None

    done = replace_operators(model, two)
    return f"{done} custom transposed convolutions written as TRANSPOSE_CONV" if done else None


def _two(model: Any, op: Any) -> list[Any] | None:
    raw = b"" if op.customOptions is None else np.asarray(op.customOptions, np.uint8).tobytes()
    if len(raw) < 12:
        return None
    padding, width, height = (int(n) for n in np.frombuffer(raw[:12], "<i4"))
    if padding not in _PADDING or min(width, height) < 1:
        return None
    main = model.subgraphs[0]
    read, weights, bias = (int(i) for i in op.inputs)
    written = int(op.outputs[0])
    options = schema.TransposeConvOptionsT()
    options.padding, options.strideW, options.strideH = _PADDING[padding], width, height
    shape = np.array([int(n) for n in main.tensors[written].shape], np.int32)
    sizes = add_constant_tensor(model, main.tensors[written].name + b"/shape", shape)
    plain = copy_tensor(main, written, b"/unbiased")
    add = schema.AddOptionsT()
    add.fusedActivationFunction = NONE
    return [
        operator(model, _B.TRANSPOSE_CONV, (sizes, weights, read), plain, options),
        operator(model, _B.ADD, (plain, bias), written, add),
    ]
