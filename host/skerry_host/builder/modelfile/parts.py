"""Building blocks for rewriting a `schema.ModelT`: operators, their codes, copies of tensors."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, add_tensor

_FUSED = schema.ActivationFunctionType
NONE, RELU, RELU6 = _FUSED.NONE, _FUSED.RELU, _FUSED.RELU6


def multiply_constant(model: Any, io: tuple[int, int], factor: float, activation: int = NONE) -> Any:
    """MUL by a constant; `io` are the tensors that it reads and writes."""
    read, written = io
    return multiply(model, (read, _number(model, written, factor)), written, activation)


def add_constant(model: Any, io: tuple[int, int], term: float, activation: int = NONE) -> Any:
    """ADD of a constant; `io` are the tensors that it reads and writes."""
    options = schema.AddOptionsT()
    options.fusedActivationFunction = activation
    reads = (io[0], _number(model, io[1], term))
    return operator(model, schema.BuiltinOperator.ADD, reads, io[1], options)


def multiply(model: Any, reads: tuple[int, int], written: int, activation: int = NONE) -> Any:
    """MUL of two tensors."""
    options = schema.MulOptionsT()
    options.fusedActivationFunction = activation
    return operator(model, schema.BuiltinOperator.MUL, reads, written, options)


def operator(model: Any, builtin: int, reads: tuple[int, ...], written: int, options: Any) -> Any:
    """An operator of one output; `options` are None for one that has none."""
    op = schema.OperatorT()
    op.opcodeIndex = code_of(model, builtin)
    op.inputs, op.outputs = np.array(reads, np.int32), np.array([written], np.int32)
    if options is None:
        return op
    name = type(options).__name__.removesuffix("T")
    op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, name), options
    return op


def requantize(model: Any, read: int, written: int) -> Any:
    """QUANTIZE from integers to integers of another scale or type."""
    op = operator(model, schema.BuiltinOperator.QUANTIZE, (read,), written, schema.QuantizeOptionsT())
    op.opcodeIndex = requantize_code(model)
    return op


def requantize_code(model: Any) -> int:
    """The code of a QUANTIZE from integers to integers, which came with version 2."""
    for at, code in enumerate(model.operatorCodes):
        if code.builtinCode == schema.BuiltinOperator.QUANTIZE and code.version == 2:
            return at
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    made.version = 2
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1


def copy_tensor(main: Any, index: int, suffix: bytes) -> int:
    """A new tensor of the form of another."""
    other = main.tensors[index]
    made = add_tensor(main, other.name + suffix, other.type, ())
    main.tensors[made].shape = other.shape
    return made


def code_of(model: Any, builtin: int) -> int:
    """The place of a builtin operator's code, which is added if it is not there."""
    for at, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return at
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)  # that one is an int8
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def activation_of(op: Any) -> int:
    """The activation that an operator does after its own work; NONE for one that cannot."""
    return int(getattr(op.builtinOptions, "fusedActivationFunction", NONE))


def _number(model: Any, beside: int, value: float) -> int:
    """A constant of one float32, named after the tensor that it helps to write."""
    name = model.subgraphs[0].tensors[beside].name + b"/factor"
    return add_constant_tensor(model, name, np.array([value], np.float32))
