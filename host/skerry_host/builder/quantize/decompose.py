"""Decomposes activations for which integers have no fast kernel: HARD_SWISH and PRELU.

hard_swish(x) = x * relu6(x + 3) / 6, and prelu(x) = slope * x + (1 - slope) * relu(x). XNNPACK
has neither for int8, so each one splits the graph and runs on the generic kernel; the Edge TPU has no HARD_SWISH, and
16 bits have none of both. All have kernels for ADD and MUL. For integers only: float has kernels of its own.
"""

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor, constant
from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.parts import (
    RELU,
    RELU6,
    add_constant,
    copy_tensor,
    multiply,
    multiply_constant,
    operator,
)
from skerry_host.builder.modelfile.replacing import replace_operators
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.sources.load import SourceModel

HELPERS = ("/clipped", "/share", "/sloped", "/positive", "/rest")
"""What the names of tensors between the parts of one activation end in, after that of what it writes."""


def decompose(source: SourceModel) -> SourceModel:
    """The same model without such activations; the same bytes where there is none."""
    if not any(op.name in {"HARD_SWISH", "PRELU"} for op in source.graph.ops):
        return source
    data, graph = _decomposed(source.data)
    return dataclasses.replace(source, data=data, graph=graph)


@lru_cache(maxsize=2)
def _decomposed(source: bytes) -> tuple[bytes, Graph]:
    """A model without them, the same for every plan."""
    model = read_model(source)

    def make(kind: str, op: Any) -> list[Any] | None:
        if kind == "HARD_SWISH":
            return _hard_swish(model, op)
        return _prelu(model, op) if kind == "PRELU" else None

    replace_operators(model, make)
    data = write_model(model)
    return data, describe(read_model(data))


def _hard_swish(model: Any, op: Any) -> list[Any]:
    """The sixth is taken before the product: on integers it only renames the steps of 0..6, and costs nothing."""
    read, written = int(op.inputs[0]), int(op.outputs[0])
    clipped, share = (copy_tensor(model.subgraphs[0], written, one.encode()) for one in HELPERS[:2])
    return [
        add_constant(model, (read, clipped), 3.0, RELU6),
        multiply_constant(model, (clipped, share), 1 / 6),
        multiply(model, (read, share), written),
    ]


def _prelu(model: Any, op: Any) -> list[Any] | None:
    """Where a slope is over 1 the positive part is taken first; None where slopes are no constant."""
    read, slope, written = int(op.inputs[0]), int(op.inputs[1]), int(op.outputs[0])
    slopes = constant(model, slope)
    if slopes is None or slopes.dtype != np.float32:
        return None
    main = model.subgraphs[0]
    sloped, positive, rest = (copy_tensor(main, written, one.encode()) for one in HELPERS[2:])
    share = add_constant_tensor(model, main.tensors[slope].name + b"/rest", (1 - slopes).astype(np.float32))
    more = [multiply(model, (read, share), rest, RELU)]
    if slopes.max(initial=0) > 1:
        more = [multiply_constant(model, (read, positive), 1.0, RELU), multiply(model, (positive, share), rest)]
    return [
        multiply(model, (read, slope), sloped),
        *more,
        operator(model, schema.BuiltinOperator.ADD, (sloped, rest), written, schema.AddOptionsT()),
    ]


def _run(draft: Draft) -> Draft:
    return dataclasses.replace(draft, source=decompose(draft.source))


STEP = Step("decompose activations", lambda plan: plan.activations != "float", _run)
