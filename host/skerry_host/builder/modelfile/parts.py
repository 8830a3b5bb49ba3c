"""Building blocks for rewriting a `schema.ModelT`: operators on constants, copies of tensors, codes, buffers."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

NONE, RELU6 = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU6
_FLOAT32 = schema.TensorType.FLOAT32


def multiply_constant(model: Any, main: Any, io: tuple[int, int], factor: float, activation: int = NONE) -> Any:
    """MUL by a constant; `io` are the tensors that it reads and writes."""
    read, written = io
    return multiply(model, (read, _constant(model, main, written, factor)), written, activation)


def add_constant(model: Any, main: Any, io: tuple[int, int], term: float, activation: int = NONE) -> Any:
    """ADD of a constant; `io` are the tensors that it reads and writes."""
    options = schema.AddOptionsT()
    options.fusedActivationFunction = activation
    reads = (io[0], _constant(model, main, io[1], term))
    return operator(model, schema.BuiltinOperator.ADD, reads, io[1], options)


def multiply(model: Any, reads: tuple[int, int], written: int, activation: int = NONE) -> Any:
    """MUL of two tensors."""
    options = schema.MulOptionsT()
    options.fusedActivationFunction = activation
    return operator(model, schema.BuiltinOperator.MUL, reads, written, options)


def operator(model: Any, builtin: int, reads: tuple[int, ...], written: int, options: Any) -> Any:
    """An operator of one output."""
    op = schema.OperatorT()
    op.opcodeIndex = code_of(model, builtin)
    op.inputs, op.outputs = np.array(reads, np.int32), np.array([written], np.int32)
    name = type(options).__name__.removesuffix("T")
    op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, name), options
    return op


def copy_tensor(main: Any, index: int, suffix: bytes) -> int:
    """A new tensor of the form of another."""
    other, made = main.tensors[index], schema.TensorT()
    made.name, made.type, made.shape = other.name + suffix, other.type, other.shape
    made.buffer = 0
    main.tensors.append(made)
    return len(main.tensors) - 1


def code_of(model: Any, builtin: int) -> int:
    """The place of a builtin operator's code, which is added if it is not there."""
    for at, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return at
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_buffer(model: Any, values: Any) -> int:
    """The place of a new buffer with an array's values."""
    return add_bytes(model, values.tobytes())


def add_bytes(model: Any, content: bytes) -> int:
    """The place of a new buffer with some content."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _constant(model: Any, main: Any, beside: int, value: float) -> int:
    """A new constant of one float32, named after the tensor that it helps to write."""
    made = schema.TensorT()
    made.name, made.type, made.shape = main.tensors[beside].name + b"/factor", _FLOAT32, np.array([1], np.int32)
    made.buffer = add_buffer(model, np.array([value], np.float32))
    main.tensors.append(made)
    return len(main.tensors) - 1
