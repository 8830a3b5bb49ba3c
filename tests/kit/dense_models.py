"""Float TFLite models of one matrix for each output, so that a test says by its weights what a model answers."""

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def dense_model(
    input_shape: tuple[int, ...], matrices: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]]
) -> bytes:
    """Takes (1, *input_shape); output i is its values times a matrix (outputs, inputs), as (1, *shapes[i])."""
    made = _Model(input_shape)
    flat = made.reshaped(0, (int(np.prod(input_shape)),))
    for matrix, shape in zip(matrices, shapes, strict=True):
        made.outputs.append(made.reshaped(made.times(flat, matrix), shape))
    return made.packed()


class _Model:
    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.buffers, self.tensors, self.operators = [schema.BufferT()], [], []
        self.outputs: list[int] = []
        self._tensor((1, *input_shape), "x")

    def reshaped(self, tensor: int, shape: tuple[int, ...]) -> int:
        options = schema.ReshapeOptionsT()
        options.newShape = [1, *shape]
        wanted = self._constant(np.array([1, *shape], np.int32))
        return self._operator(1, [tensor, wanted], (1, *shape), ("ReshapeOptions", options))

    def times(self, tensor: int, matrix: np.ndarray) -> int:
        weights = self._constant(matrix.astype(np.float32))
        bias = self._constant(np.zeros(len(matrix), np.float32))
        options = schema.FullyConnectedOptionsT()
        return self._operator(0, [tensor, weights, bias], (1, len(matrix)), ("FullyConnectedOptions", options))

    def packed(self) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [0], self.outputs
        model = schema.ModelT()
        model.version, model.description, model.buffers, model.subgraphs = 3, "dense", self.buffers, [graph]
        model.operatorCodes = []
        for code in (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.RESHAPE):
            one = schema.OperatorCodeT()
            one.builtinCode, one.deprecatedBuiltinCode, one.version = code, code, 1
            model.operatorCodes.append(one)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _operator(self, code: int, inputs: list[int], shape: tuple[int, ...], options: tuple[str, object]) -> int:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = code, inputs
        operator.outputs = [self._tensor(shape, f"t{len(self.tensors)}")]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        operator.builtinOptions = options[1]
        self.operators.append(operator)
        return operator.outputs[0]

    def _constant(self, values: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        return self._tensor(values.shape, f"c{len(self.tensors)}", kind, len(self.buffers) - 1)

    def _tensor(self, shape, name: str, kind: int = schema.TensorType.FLOAT32, buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.name, tensor.type, tensor.buffer = list(shape), name, kind, buffer
        self.tensors.append(tensor)
        return len(self.tensors) - 1
