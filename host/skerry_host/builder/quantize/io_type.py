"""Gives an int8 model uint8 inputs and outputs, by a QUANTIZE operator at each. Changes no other operator."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.quantize.step import Draft, Step

OFFSET = 128
"""Between the uint8 and the int8 value of a real number, and between their zero points; the scale is the same."""


def uint8_io(model: Any) -> None:
    """Make each quantized int8 input and output of a `schema.ModelT` uint8, in place; ids and masks stay."""
    main = model.subgraphs[0]
    code = _requantize_code(model)
    renamed: dict[int, int] = {}
    for index in [int(i) for i in main.inputs if _is_int8(main.tensors[int(i)])]:
        outer = renamed[index] = _unsigned(model, index)
        main.operators.insert(0, _operator(code, outer, index))
    for index in [int(i) for i in main.outputs if _is_int8(main.tensors[int(i)])]:
        outer = renamed[index] = _unsigned(model, index)
        main.operators.append(_operator(code, index, outer))
    main.inputs = [renamed.get(int(i), int(i)) for i in main.inputs]
    main.outputs = [renamed.get(int(i), int(i)) for i in main.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = renamed.get(int(entry.tensorIndex), int(entry.tensorIndex))


def _is_int8(tensor: Any) -> bool:
    form = tensor.quantization
    return tensor.type == schema.TensorType.INT8 and form is not None and form.scale is not None


def _unsigned(model: Any, index: int) -> int:
    """Add a uint8 tensor with the same real values as an int8 one; its index."""
    main = model.subgraphs[0]
    inner = main.tensors[index]
    outer, form = schema.TensorT(), schema.QuantizationParametersT()
    form.scale = [float(inner.quantization.scale[0])]
    form.zeroPoint = [int(inner.quantization.zeroPoint[0]) + OFFSET]
    outer.shape, outer.type, outer.quantization = inner.shape, schema.TensorType.UINT8, form
    outer.name = _text(inner.name) + b"_uint8"
    outer.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT())
    main.tensors.append(outer)
    return len(main.tensors) - 1


def _requantize_code(model: Any) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2  # from integers to integers
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _operator(code: int, before: int, after: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = np.array([before], np.int32), np.array([after], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    return operator


def _text(name: Any) -> bytes:
    return name if isinstance(name, bytes) else str(name).encode()


def _run(draft: Draft) -> Draft:
    uint8_io(draft.model)
    return draft


STEP = Step("uint8 inputs and outputs", lambda plan: plan.io == "uint8", _run, keys=("io",))
