"""Writes a TFLite model operator by operator. Knows nothing of ONNX or of orders of axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_buffer
from skerry_host.builder.modelfile.parts import code_of
from skerry_host.builder.modelfile.tflite import write_model

SIGNATURE = "serving_default"
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}
_INT32 = np.iinfo(np.int32)
_VERSIONS = {"BROADCAST_TO": 2, "GATHER_ND": 1}
"""Of operators that runtimes have no version 1 of."""


class ModelWriter:
    """A model in the making: tensors and operators in the order in which they were added."""

    def __init__(self) -> None:
        self._model, self._main = schema.ModelT(), schema.SubGraphT()
        self._model.version, self._model.description = 3, b"from ONNX"
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        self._model.subgraphs, self._model.signatureDefs = [self._main], []
        self._main.tensors, self._main.operators, self._main.name = [], [], b"main"
        self._names: set[str] = set()

    def tensor(self, name: str, shape: Sequence[int], dtype: Any) -> int:
        """A new tensor without data; its name is made its own by a number."""
        made = schema.TensorT()
        made.name = self._own(name).encode()
        made.shape, made.type, made.buffer = np.array(shape, np.int32), _TYPES[np.dtype(dtype)], 0
        self._main.tensors.append(made)
        return len(self._main.tensors) - 1

    def constant(self, name: str, values: Any) -> int:
        """A new tensor with data; wider integers become int32, as far as that reaches."""
        if values.dtype.kind in "iu" and values.dtype != np.int32:
            values = np.clip(values, _INT32.min, _INT32.max).astype(np.int32)
        index = self.tensor(name, values.shape, values.dtype)
        self._main.tensors[index].buffer = add_buffer(self._model, np.ascontiguousarray(values))
        return index

    def operator(self, name: str, reads: Sequence[int], writes: Sequence[int], options: Any = None) -> None:
        """Add an operator; -1 stands for an input that is left out."""
        op = schema.OperatorT()
        op.opcodeIndex = code_of(self._model, getattr(schema.BuiltinOperator, name))
        self._model.operatorCodes[op.opcodeIndex].version = _VERSIONS.get(name, 1)
        op.inputs, op.outputs = np.array(reads, np.int32), np.array(writes, np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._main.operators.append(op)

    def finish(self, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> bytes:
        """The file, with inputs and outputs in this order, named so in its signature; what nobody reads is left out."""
        places = self._drop_unread([index for _name, index in (*inputs, *outputs)], {index for _n, index in outputs})
        inputs, outputs = ([(name, places[index]) for name, index in pairs] for pairs in (inputs, outputs))
        signature = schema.SignatureDefT()
        signature.signatureKey = SIGNATURE.encode()
        signature.inputs, signature.outputs = [_entry(*pair) for pair in inputs], [_entry(*pair) for pair in outputs]
        self._model.signatureDefs = [signature]
        self._main.inputs = np.array([index for _name, index in inputs], np.int32)
        self._main.outputs = np.array([index for _name, index in outputs], np.int32)
        return write_model(self._model)

    def _drop_unread(self, ends: Sequence[int], wanted: set[int]) -> dict[int, int]:
        """Drop operators that no output needs, and tensors of no operator; where each other tensor is then."""
        kept = []
        for op in reversed(self._main.operators):
            if wanted & set(map(int, op.outputs)):
                kept.append(op)
                wanted = wanted | set(map(int, op.inputs))
        used = {int(i) for op in kept for i in (*op.inputs, *op.outputs) if i >= 0} | set(ends)
        places = {index: at for at, index in enumerate(sorted(used))}
        for op in kept:
            op.inputs, op.outputs = (
                np.array([places.get(int(i), -1) for i in part], np.int32) for part in (op.inputs, op.outputs)
            )
        self._main.operators = kept[::-1]
        self._main.tensors = [self._main.tensors[index] for index in sorted(used)]
        self._drop_buffers()
        return places

    def _drop_buffers(self) -> None:
        used = sorted({tensor.buffer for tensor in self._main.tensors} | {0})
        places = {index: at for at, index in enumerate(used)}
        for tensor in self._main.tensors:
            tensor.buffer = places[tensor.buffer]
        self._model.buffers = [self._model.buffers[index] for index in used]

    def _own(self, name: str) -> str:
        made, count = name, 0
        while made in self._names:
            count += 1
            made = f"{name}_{count}"
        self._names.add(made)
        return made


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry
