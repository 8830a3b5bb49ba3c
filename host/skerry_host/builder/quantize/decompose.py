"""Decomposes activations for which integers have no fast kernel: HARD_SWISH and PRELU.

hard_swish(x) = x * relu6(x + 3) / 6, and prelu(x) = slope * x + (1 - slope) * relu(x), or relu(x) less what is below
zero. XNNPACK has neither for int8, so each one splits the graph and runs on the generic kernel; the Edge TPU has no
HARD_SWISH, and 16 bits have none of both. All have kernels for ADD, SUB and MUL. For integers only: float has kernels
of its own, so those that `keep_float` means stay whole.
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.constants import add_constant_tensor, constant
from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.islands import named
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
from skerry_host.builder.quantize.named_layers import outliving
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.sources.load import SourceModel

HELPERS = ("/clipped", "/share", "/sloped", "/rest", "/positive", "/below", "/signed")
"""What the names of tensors between the parts of one activation end in, after that of what it writes."""
_KINDS = {"HARD_SWISH", "PRELU"}


def decompose(source: SourceModel, kept: Sequence[str] = ()) -> SourceModel:
    """The same model without such activations but for those that a name means; the same bytes where there is none."""
    spared = frozenset(i for ops in named(source.graph, kept).values() for op in ops for i in op.outputs)
    if all(spared.intersection(op.outputs) for op in source.graph.ops if op.name in _KINDS):
        return source
    data, graph = _decomposed(source.data, spared)
    return dataclasses.replace(source, data=data, graph=graph)


@lru_cache(maxsize=2)
def _decomposed(source: bytes, spared: frozenset[int]) -> tuple[bytes, Graph]:
    """A model without them, the same for every plan that keeps the same ones."""
    model = read_model(source)

    def make(kind: str, op: Any) -> list[Any] | None:
        if kind not in _KINDS or int(op.outputs[0]) in spared:
            return None
        return _hard_swish(model, op) if kind == "HARD_SWISH" else _prelu(model, op)

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
    """None where slopes are no constant."""
    slopes = constant(model, int(op.inputs[1]))
    if slopes is None or slopes.dtype != np.float32:
        return None
    gentle = slopes.min(initial=0) < 0 and np.abs(slopes).max(initial=0) <= 1
    return _sloped(model, op, slopes) if gentle else _two_sides(model, op, slopes)


def _sloped(model: Any, op: Any, slopes: Array) -> list[Any]:
    """The least operators for slopes of both signs: what is positive comes from both parts, so none may be steep."""
    read, slope, written = int(op.inputs[0]), int(op.inputs[1]), int(op.outputs[0])
    main = model.subgraphs[0]
    sloped, rest = (copy_tensor(main, written, one.encode()) for one in HELPERS[2:4])
    return [
        multiply(model, (read, slope), sloped),
        multiply(model, (read, _beside(model, written, "/rest of slopes", 1 - slopes)), rest, RELU),
        operator(model, schema.BuiltinOperator.ADD, (sloped, rest), written, schema.AddOptionsT()),
    ]


def _two_sides(model: Any, op: Any, slopes: Array) -> list[Any]:
    """One part is zero where the other is not: of one that is a hundred times steeper the other loses nothing."""
    read, written = int(op.inputs[0]), int(op.outputs[0])
    positive, below, signed = (copy_tensor(model.subgraphs[0], written, one.encode()) for one in HELPERS[4:])
    falls = _beside(model, written, "/falls", -np.abs(slopes))
    parts = [multiply_constant(model, (read, positive), 1.0, RELU), multiply(model, (read, falls), below, RELU)]
    if slopes.min(initial=0) < 0:
        signs = _beside(model, written, "/signs", np.where(slopes < 0, -1, 1))
        parts.append(multiply(model, (below, signs), signed))
        below = signed
    difference = operator(model, schema.BuiltinOperator.SUB, (positive, below), written, schema.SubOptionsT())
    return [*parts, difference]


def _beside(model: Any, written: int, suffix: str, values: Array) -> int:
    """A constant named after what its operator helps to write: several may share their slopes."""
    name = model.subgraphs[0].tensors[written].name + suffix.encode()
    return add_constant_tensor(model, name, values.astype(np.float32))


def _run(draft: Draft) -> Draft:
    wide = outliving(draft.source.graph, draft.plan.int16_layers, _KINDS)
    plan = msgspec.structs.replace(draft.plan, int16_layers=wide)
    return dataclasses.replace(draft, source=decompose(draft.source, plan.keep_float), plan=plan)


STEP = Step("decompose activations", lambda plan: plan.activations != "float", _run)
