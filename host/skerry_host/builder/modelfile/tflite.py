"""Reads and writes TFLite files as the objects of their schema (schema.fbs, file identifier TFL3). Changes nothing.

Parses in this process: give it only bytes that `probe` has already accepted, or that this program wrote.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
"""`force_align: 16` of Buffer.data in schema.fbs: kernels load weights with aligned vector instructions."""

ModelT = Any
"""A `schema.ModelT`: the generated module has no types."""


def read_model(data: bytes) -> ModelT:
    """The model of a TFLite file; buffers kept outside of the tables are resolved."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data))
    for buffer in model.buffers or []:
        if buffer.offset > 1:  # 0 and 1 mean "not kept outside"
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def write_model(model: ModelT) -> bytes:
    """The file of a model, with every buffer inside its table, where any runtime or compiler looks for it, and aligned.

    The same model gives the same bytes.
    """
    kept = model.buffers
    model.buffers = [_AlignedBuffer(buffer) for buffer in kept or []]
    try:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())
    finally:
        model.buffers = kept


def text(value: Any) -> str:
    """A name in the schema's objects, which hold it as bytes, or None where a file has none."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


class _AlignedBuffer:
    """Packs a buffer as the C++ code does; the generated Python code forgets the alignment."""

    def __init__(self, buffer: Any) -> None:
        self._data = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()

    def Pack(self, builder: Any) -> Any:  # noqa: N802  (the generated name)
        vector = self._vector(builder) if self._data else None
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)

    def _vector(self, builder: Any) -> Any:
        builder.StartVector(1, len(self._data), BUFFER_ALIGNMENT)
        builder.head -= len(self._data)
        builder.Bytes[builder.head : builder.head + len(self._data)] = self._data
        return builder.EndVector()
