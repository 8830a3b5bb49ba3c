"""A float TFLite model that is one dense layer, small enough to make in a test; TensorFlow is not needed."""

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def linear_model(weights, bias, shape: Sequence[int], softmax: bool = False) -> bytes:
    """Takes one float input of `shape` (1, ...), flattened; weights are (outputs, inputs), bias (outputs,)."""
    weights, bias = np.asarray(weights, np.float32), np.asarray(bias, np.float32)
    outputs = (1, len(bias))
    model = schema.ModelT()
    model.version, model.description = 3, "linear"
    model.buffers = [schema.BufferT()] + [_buffer(array) for array in (weights, bias)]
    tensors = [
        _tensor("x", shape),
        _tensor("weights", weights.shape, 1),
        _tensor("bias", bias.shape, 2),
        _tensor("logits" if softmax else "y", outputs),
    ]
    operators = [_operator(0, [0, 1, 2], [3], schema.FullyConnectedOptionsT(), "FullyConnectedOptions")]
    codes = [_code(schema.BuiltinOperator.FULLY_CONNECTED)]
    if softmax:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        tensors.append(_tensor("y", outputs))
        operators.append(_operator(1, [3], [4], options, "SoftmaxOptions"))
        codes.append(_code(schema.BuiltinOperator.SOFTMAX))
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [len(tensors) - 1], operators
    model.operatorCodes, model.subgraphs = codes, [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(array):
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return buffer


def _tensor(name, shape, buffer=0):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), schema.TensorType.FLOAT32, buffer
    return tensor


def _operator(code, inputs, outputs, options, name):
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, name), options
    return operator


def _code(builtin):
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 1
    return code
