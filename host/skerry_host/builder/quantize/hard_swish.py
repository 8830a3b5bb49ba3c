"""Decomposes HARD_SWISH into ADD, RELU6 and MUL, for int8 only: in float it has a fast kernel of its own.

hard_swish(x) = x * relu6(x + 3) / 6. XNNPACK has no int8 HARD_SWISH, so each one splits the graph and runs on the
generic kernel, and the Edge TPU has none; both have fast kernels for ADD and MUL.
"""

import dataclasses
from functools import lru_cache
from typing import Any

from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.links import kinds
from skerry_host.builder.modelfile.parts import RELU6, add_constant, copy_tensor, multiply, multiply_constant
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.step import Draft, Step, int8
from skerry_host.builder.sources.load import SourceModel


def decompose(source: SourceModel) -> SourceModel:
    """The same model without HARD_SWISH; the same bytes where there is none."""
    if not any(op.name == "HARD_SWISH" for op in source.graph.ops):
        return source
    data, graph = _decompose(source.data)
    return dataclasses.replace(source, data=data, graph=graph)


@lru_cache(maxsize=2)
def _decompose(source: bytes) -> tuple[bytes, Graph]:
    """A model without it, the same for every plan."""
    model = read_model(source)
    main = model.subgraphs[0]
    names = kinds(model)
    main.operators = [
        part
        for op in main.operators
        for part in (_decomposed(model, main, op) if names[op.opcodeIndex] == "HARD_SWISH" else [op])
    ]
    data = write_model(model)
    return data, describe(read_model(data))


def _decomposed(model: Any, main: Any, op: Any) -> list[Any]:
    """The sixth is taken before the product: on integers it only renames the steps of 0..6, and costs nothing."""
    read, written = int(op.inputs[0]), int(op.outputs[0])
    clipped, share = copy_tensor(main, written, b"/clipped"), copy_tensor(main, written, b"/share")
    return [
        add_constant(model, (read, clipped), 3.0, RELU6),
        multiply_constant(model, (clipped, share), 1 / 6),
        multiply(model, (read, share), written),
    ]


def _run(draft: Draft) -> Draft:
    return dataclasses.replace(draft, source=decompose(draft.source))


STEP = Step("decompose HARD_SWISH", int8, _run)
