"""Writes sparse weights out, zeros and all: neither the quantizer nor int8 kernels read sparse ones."""

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_host.builder.modelfile.constants import add_buffer
from skerry_host.builder.modelfile.graph import op_name
from skerry_host.builder.modelfile.parts import operator
from skerry_host.builder.modelfile.tflite import write_model


def densify(model: Any) -> str | None:
    """Make constants of sparse ones, by the runtime's own DENSIFY, and take these operators out."""
    main = model.subgraphs[0]
    sparse = [at for at, tensor in enumerate(main.tensors) if tensor.sparsity is not None]
    for at in sparse:
        values = _dense(model, at)
        main.tensors[at].sparsity, main.tensors[at].buffer = None, add_buffer(model, values)
    same = {
        int(op.outputs[0]): int(op.inputs[0])
        for op in main.operators or []
        if op_name(model.operatorCodes[op.opcodeIndex]) == "DENSIFY"
    }
    main.operators = [op for op in main.operators or [] if int(op.outputs[0]) not in same]
    for op in main.operators:
        op.inputs = np.array([same.get(int(i), int(i)) for i in op.inputs], np.int32)
    return f"{len(sparse)} sparse weights written out" if sparse else None


def _dense(model: Any, index: int) -> Any:
    """The values of a sparse constant, from a model that has DENSIFY only."""
    alone, graph = copy.copy(model), schema.SubGraphT()
    given = copy.copy(model.subgraphs[0].tensors[index])
    made = schema.TensorT()
    made.name, made.type, made.shape, made.buffer = b"dense", given.type, given.shape, 0
    buffer = model.buffers[given.buffer]
    given.buffer = 1
    graph.tensors, graph.inputs, graph.outputs = [given, made], np.array([], np.int32), np.array([1], np.int32)
    alone.buffers, alone.subgraphs, alone.operatorCodes = [schema.BufferT(), buffer], [graph], []
    alone.signatureDefs, alone.metadata = [], []
    graph.operators = [operator(alone, schema.BuiltinOperator.DENSIFY, (0,), 1, schema.DensifyOptionsT())]
    interpreter = Interpreter(
        model_content=write_model(alone),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
