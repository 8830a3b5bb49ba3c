"""Writes dense layers as convolutions of 1x1, whose weights have a scale for each output on every runtime and Edge TPU.

FULLY_CONNECTED has one scale for all its weights before version 12 of its kernel: a row of small weights loses beside
one of large ones. Changes the float model, exactly; does nothing for layers that stay float.
"""

import dataclasses
from collections.abc import Iterator
from math import prod
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, add_tensor, constant
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.parts import activation_of, operator
from skerry_host.builder.modelfile.replacing import replace_operators
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.named_layers import meant, outliving
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

HELPERS = ("/read", "/rows")
"""What the names of what the convolution reads and writes end in, after that of what the layer wrote."""
_FLOAT32 = schema.TensorType.FLOAT32
_DEFAULT = schema.FullyConnectedOptionsWeightsFormat.DEFAULT


def by_rows(source: SourceModel, kept: tuple[str, ...] = ()) -> SourceModel:
    """The same model with 1x1 convolutions for dense layers, but for those named; the same bytes where there is none.

    Raises `ModelError` for a name that means no layer.
    """
    spared = {i for op in meant(source.graph, kept) for i in op.outputs}
    model = read_model(source.data)

    def make(kind: str, op: Any) -> list[Any] | None:
        dense = kind == "FULLY_CONNECTED" and int(op.outputs[0]) not in spared
        return _convolution(model, op) if dense else None

    if not replace_operators(model, make):
        return source
    data = write_model(model)
    return dataclasses.replace(source, data=data, graph=describe(read_model(data)))


def _convolution(model: Any, op: Any) -> list[Any] | None:
    """RESHAPE to (1, 1, rows, inputs), CONV_2D, RESHAPE to what was there; None where its weights are no constant."""
    main = model.subgraphs[0]
    read, weight, written = int(op.inputs[0]), int(op.inputs[1]), int(op.outputs[0])
    values = constant(model, weight)
    plain = getattr(op.builtinOptions, "weightsFormat", _DEFAULT) == _DEFAULT
    if values is None or values.dtype != np.float32 or values.shape[0] == 1 or not plain:
        return None
    outputs, inputs = values.shape
    rows = prod(int(n) for n in main.tensors[read].shape) // inputs
    name = main.tensors[written].name
    kernel = add_constant_tensor(model, name + b"/kernel", values.reshape(outputs, 1, 1, inputs))  # may share weights
    flat = add_tensor(main, name + HELPERS[0].encode(), _FLOAT32, (1, 1, rows, inputs))
    made = add_tensor(main, name + HELPERS[1].encode(), _FLOAT32, (1, 1, rows, outputs))
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding, options.fusedActivationFunction = schema.Padding.VALID, activation_of(op)
    reads = (flat, kernel, _bias(model, op, outputs))
    return [
        _reshape(model, read, flat),
        operator(model, schema.BuiltinOperator.CONV_2D, reads, made, options),
        _reshape(model, made, written),
    ]


def _bias(model: Any, op: Any, outputs: int) -> int:
    if len(op.inputs) > 2 and int(op.inputs[2]) >= 0:
        return int(op.inputs[2])
    name = model.subgraphs[0].tensors[int(op.outputs[0])].name + b"/bias"
    return add_constant_tensor(model, name, np.zeros(outputs, np.float32))


def _reshape(model: Any, read: int, written: int) -> Any:
    target = model.subgraphs[0].tensors[written]
    shape = add_constant_tensor(model, target.name + b"/shape", np.asarray(target.shape, np.int32))
    options = schema.ReshapeOptionsT()
    options.newShape = np.asarray(target.shape, np.int32)
    return operator(model, schema.BuiltinOperator.RESHAPE, (read, shape), written, options)


def _wanted(plan: Quantize) -> bool:
    return plan.dense_by_row and plan.per_channel and plan.activations != "float"


def _run(draft: Draft) -> Draft:
    wide = outliving(draft.source.graph, draft.plan.int16_layers, {"FULLY_CONNECTED"})
    plan = msgspec.structs.replace(draft.plan, int16_layers=wide)
    return dataclasses.replace(draft, source=by_rows(draft.source, plan.keep_float), plan=plan)


def choices(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """A scale for each output of dense layers."""
    other = msgspec.structs.replace(plan, dense_by_row=True)
    if not plan.dense_by_row and _wanted(other):
        yield "dense layers by row", other


STEP = Step("dense layers by row", _wanted, _run, keys=("dense_by_row",), choices=choices, search_order=3)
