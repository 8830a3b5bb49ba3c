"""Building blocks for rewriting a `schema.ModelT`: operators on constants, copies of tensors, codes, buffers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

NONE, RELU6 = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU6
_FLOAT32 = schema.TensorType.FLOAT32
NUMPY = {
    "float32": _FLOAT32,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "int8": schema.TensorType.INT8,
}
"""The types of a file by numpy's names."""
_DTYPES = {code: np.dtype(name) for name, code in NUMPY.items()}


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
    other, made = main.tensors[index], schema.TensorT()
    made.name, made.type, made.shape = other.name + suffix, other.type, other.shape
    made.buffer = 0
    main.tensors.append(made)
    return len(main.tensors) - 1


def add_tensor(main: Any, named_after: bytes, dtype: int, shape: Sequence[int], buffer: int = 0) -> int:
    """A new tensor."""
    made = schema.TensorT()
    made.name, made.type, made.shape, made.buffer = named_after, dtype, np.array(shape, np.int32), buffer
    main.tensors.append(made)
    return len(main.tensors) - 1


def add_constant_tensor(model: Any, name: bytes, values: Any) -> int:
    """A new constant with an array's values, which are of one of `NUMPY`."""
    shape, dtype = values.shape, NUMPY[values.dtype.name]
    return add_tensor(model.subgraphs[0], name, dtype, shape, add_buffer(model, values))


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


def constant(model: Any, index: int) -> Any:
    """A constant tensor's values as an array, None where it is none or of a type that is not in `NUMPY`."""
    tensor = model.subgraphs[0].tensors[index]
    data, dtype = model.buffers[tensor.buffer].data, _DTYPES.get(tensor.type)
    if data is None or not len(data) or dtype is None:
        return None
    shape = () if tensor.shape is None else tuple(int(n) for n in tensor.shape)
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype).reshape(shape)


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
