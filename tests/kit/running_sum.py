"""A model that remembers: it answers with the sum of all that it has seen since it was loaded, operator by operator."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.tflite import write_model

OP, TYPE, OPTIONS = schema.BuiltinOperator, schema.TensorType, schema.BuiltinOptions
CODES = (OP.CALL_ONCE, OP.VAR_HANDLE, OP.READ_VARIABLE, OP.ADD, OP.ASSIGN_VARIABLE)


def running_sum(width: int) -> bytes:
    """A TFLite file with a float input and output (1, width); its second subgraph sets the sum to zero."""
    once, handle = _made(schema.CallOnceOptionsT, initSubgraphIndex=1), _made(schema.VarHandleOptionsT, sharedName=b"s")
    named = _op(OP.VAR_HANDLE, [], [0], OPTIONS.VarHandleOptions, handle)
    main = _made(
        schema.SubGraphT,
        tensors=[_variable(), _tensor("x", width), _tensor("before", width), _tensor("y", width)],
        operators=[
            _op(OP.CALL_ONCE, [], [], OPTIONS.CallOnceOptions, once),
            named,
            _op(OP.READ_VARIABLE, [0], [2]),
            _op(OP.ADD, [1, 2], [3], OPTIONS.AddOptions, schema.AddOptionsT()),
            _op(OP.ASSIGN_VARIABLE, [0, 3], []),
        ],
        inputs=[1],
        outputs=[3],
    )
    first = _made(
        schema.SubGraphT,
        tensors=[_variable(), _tensor("zero", width, buffer=1)],
        operators=[named, _op(OP.ASSIGN_VARIABLE, [0, 1], [])],
        inputs=[],
        outputs=[],
    )
    zero = _made(schema.BufferT, data=np.zeros(4 * width, np.uint8))
    codes = [
        _made(schema.OperatorCodeT, builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1) for code in CODES
    ]
    graphs = {"subgraphs": [main, first], "buffers": [schema.BufferT(), zero], "operatorCodes": codes}
    return write_model(_made(schema.ModelT, version=3, description=b"", **graphs))


def _made(kind: type, **fields: Any) -> Any:
    made = kind()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _tensor(name: str, width: int, buffer: int = 0) -> Any:
    return _made(schema.TensorT, name=name, type=TYPE.FLOAT32, shape=[1, width], buffer=buffer)


def _variable() -> Any:
    return _made(schema.TensorT, name="handle", type=TYPE.RESOURCE, shape=[])


def _op(code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: Any = None) -> Any:
    fields = {"builtinOptionsType": kind, "builtinOptions": options}
    return _made(schema.OperatorT, opcodeIndex=CODES.index(code), inputs=inputs, outputs=outputs, **fields)
