"""Decomposes activations for which integers have no kernel: HARD_SWISH, and PRELU where there are 16 bits.

hard_swish(x) = x * relu6(x + 3) / 6. XNNPACK has no int8 HARD_SWISH, so each one splits the graph and runs on the
generic kernel, and the Edge TPU has none; both have fast kernels for ADD and MUL. 16 bits have neither that nor PRELU:
prelu(x) = relu(x) + slope * (x - relu(x)). For integers only: float has kernels of its own.
"""

import dataclasses
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.parts import RELU6, add_constant, copy_tensor, multiply, multiply_constant, operator
from skerry_host.builder.modelfile.replacing import replace_operators
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

HELPERS = ("/clipped", "/share", "/positive", "/negative", "/scaled")
"""What the names of tensors between the parts of one activation end in, after that of what it writes."""


def decompose(source: SourceModel, plan: Quantize) -> SourceModel:
    """The same model without such activations; the same bytes where there is none."""
    model = read_model(source.data)
    wide = plan.activations == "int16" or bool(plan.int16_layers)

    def make(kind: str, op: Any) -> list[Any] | None:
        if kind == "HARD_SWISH":
            return _hard_swish(model, op)
        return _prelu(model, op) if kind == "PRELU" and wide else None

    if not replace_operators(model, make):
        return source
    data = write_model(model)
    return dataclasses.replace(source, data=data, graph=describe(read_model(data)))


def _hard_swish(model: Any, op: Any) -> list[Any]:
    """The sixth is taken before the product: on integers it only renames the steps of 0..6, and costs nothing."""
    read, written = int(op.inputs[0]), int(op.outputs[0])
    clipped, share = (copy_tensor(model.subgraphs[0], written, one.encode()) for one in HELPERS[:2])
    return [
        add_constant(model, (read, clipped), 3.0, RELU6),
        multiply_constant(model, (clipped, share), 1 / 6),
        multiply(model, (read, share), written),
    ]


def _prelu(model: Any, op: Any) -> list[Any]:
    read, slope, written = int(op.inputs[0]), int(op.inputs[1]), int(op.outputs[0])
    positive, negative, scaled = (copy_tensor(model.subgraphs[0], written, one.encode()) for one in HELPERS[2:])
    builtin = schema.BuiltinOperator
    return [
        operator(model, builtin.RELU, (read,), positive, None),
        operator(model, builtin.SUB, (read, positive), negative, schema.SubOptionsT()),
        multiply(model, (negative, slope), scaled),
        operator(model, builtin.ADD, (positive, scaled), written, schema.AddOptionsT()),
    ]


def _run(draft: Draft) -> Draft:
    return dataclasses.replace(draft, source=decompose(draft.source, draft.plan))


STEP = Step("decompose activations", lambda plan: plan.activations != "float", _run)
