"""Functions of one number that an int8 model looks up: 256 values, one for each integer. Chooses none.

The function itself is a float TFLite model of one operator or of several, so that its values are those of the runtime's
own kernels. In the int8 model it is CAST, ADD and GATHER, which every runtime has for these types.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_constant_tensor, add_tensor
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.sources.load import SourceModel

VALUES = 256
_T, _B = schema.TensorType, schema.BuiltinOperator


@dataclass(frozen=True, slots=True)
class Tables:
    """Float models of functions of one number, by the name of the tensor that has their value in the model.

    `before` is the model as it was when an operator of its own stood for each, None where there are no tables.
    """

    functions: Mapping[str, bytes] = field(default_factory=dict)
    before: SourceModel | None = None


def evaluate(function: bytes, numbers: Array) -> Array:
    """A function's values for 256 rising numbers; where it has none, as a logarithm below 0, that of the nearest."""
    interpreter = Interpreter(
        model_content=function,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (read,), (written,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(read["index"], numbers.reshape(read["shape"]).astype(np.float32))
    interpreter.invoke()
    return _filled(interpreter.get_tensor(written["index"]).reshape(VALUES))


def _filled(values: Array) -> Array:
    """Not-a-numbers replaced by the nearest value that is one."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return np.zeros_like(values)
    at = np.arange(len(values))
    nearest = known[np.abs(at[:, None] - known[None, :]).argmin(axis=1)]
    filled: Array = values[nearest]
    return filled


def look_up(model: Any, io: tuple[int, int], entries: Array) -> list[Any]:
    """Operators that read an int8 tensor and write the entry (256,) int8 of each integer into another."""
    main = model.subgraphs[0]
    read, written = io
    tensor = main.tensors[written]
    count, place = (add_tensor(main, tensor.name + end, _T.INT32, tensor.shape) for end in (b"/count", b"/place"))
    offset = add_constant_tensor(model, tensor.name + b"/offset", np.array([VALUES // 2], np.int32))
    table = add_constant_tensor(model, tensor.name + b"/table", entries)
    main.tensors[table].quantization = tensor.quantization
    cast, gather = schema.CastOptionsT(), schema.GatherOptionsT()
    cast.inDataType, cast.outDataType = _T.INT8, _T.INT32
    return [
        operator(model, _B.CAST, (read,), count, cast),
        operator(model, _B.ADD, (count, offset), place, schema.AddOptionsT()),
        operator(model, _B.GATHER, (table, place), written, gather),
    ]
