"""Says why a TFLite model cannot be used or quantized: every reason at once. Changes nothing."""

from collections.abc import Container
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.modelfile.tflite import text
from skerry_host.builder.sources.why import several_graphs, shown

WHOLE = {"int32", "int64", "uint8", "int8", "bool"}
"""Inputs that stay as they are in the quantized model: ids, masks, lengths, raw pixels."""
_INTEGERS = {"int8", "uint8", "int16"}
_FLOATS: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
}


def not_finite(model: Any, most: int = 3) -> list[str]:
    """The names of constants of the main graph that hold NaN or infinity, at most so many."""
    found = []
    for tensor in model.subgraphs[0].tensors:
        data, dtype = model.buffers[tensor.buffer].data, _FLOATS.get(tensor.type)
        if data is None or dtype is None or len(data) % dtype.itemsize:
            continue
        if not np.isfinite(np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)).all():
            found.append(text(tensor.name))
    return found[:most]


def quantized(graph: Graph) -> bool:
    """Whether the model computes on integers already: an operator other than QUANTIZE writes them with a scale."""
    written = [graph.tensors[i] for op in graph.ops if op.name != "QUANTIZE" for i in op.outputs]
    return any(t.dtype in _INTEGERS and t.channels for t in written)


def unfit_quantized(graph: Graph, wished: Container[str] = ()) -> list[str]:
    """Why a model that is quantized already cannot be used as it is, every reason; empty if it can."""
    reasons = unfit_io(graph, wished)
    left = [op.name for op in graph.float_ops() if op.name not in {"QUANTIZE", "DEQUANTIZE"}]
    if left:
        names = ", ".join(sorted(set(left)))
        reasons.append(f"{len(left)} of its operators compute in floating point ({names}): give the float model")
    return reasons


def unfit(graph: Graph, loop: str = "", wished: Container[str] = ()) -> list[str]:
    """Why a normalised float model cannot be quantized, every reason; empty if it can.

    `loop` says why a loop is left in it; `wished` has the inputs of which the recipe gives the sizes.
    """
    inputs = [graph.tensors[i] for i in graph.inputs]
    reasons = unfit_io(graph, wished)
    if loop:
        reasons.append(f"it has {loop}")
    elif graph.subgraphs != 1:
        reasons.append(several_graphs(graph))
    taken = {"float32", *WHOLE}
    reasons += [f"input {t.name} is {t.dtype}, not float32 or whole numbers" for t in inputs if t.dtype not in taken]
    if inputs and not any(op_reads_float(graph, op) for op in graph.ops):
        reasons.append("none of its operators computes on real numbers: there is nothing to quantize")
    if any(op.name in {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} for op in graph.ops):
        reasons.append("it keeps weights or state in variables: export it with constants")
    sparse = [op for op in graph.ops if op.name == "DENSIFY"]
    if sparse:
        reasons.append(
            f"{len(sparse)} of its weights are stored as sparse ones (DENSIFY): export it with dense weights"
        )
    left = [op.name for op in graph.ops if op.name in {"QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"}]
    if left and not sparse:
        named = f"{len(left)} of its operators ({', '.join(sorted(set(left)))})"
        advice = "convert the trained model to int8, or give the float model"
        reasons.append(f"{named} are not pairs from quantization-aware training: {advice}")
    half = [t for t in graph.tensors if t.dtype in _INTEGERS and t.channels and t.constant_bytes]
    if half:
        reasons.append(f"{len(half)} of its weights are quantized already (dynamic range): give the float model")
    return reasons


def op_reads_float(graph: Graph, op: Op) -> bool:
    """Whether an operator reads or writes real numbers."""
    return any(graph.tensors[i].dtype == "float32" for i in (*op.inputs, *op.outputs))


def unfit_io(graph: Graph, wished: Container[str] = ()) -> list[str]:
    """What is wrong with the inputs and outputs of any model; inputs of sizes that are `wished` need no batch of 1."""
    return [*_io_reasons(graph), *_shape_reasons(graph, wished)]


def _io_reasons(graph: Graph) -> list[str]:
    reasons = []
    if not graph.inputs:
        reasons.append("it has no input")
    if not graph.outputs:
        reasons.append("it has no output")
    if not graph.ops:
        reasons.append("it has no operators")
    return reasons


def _shape_reasons(graph: Graph, wished: Container[str]) -> list[str]:
    inputs = [graph.tensors[i] for i in graph.inputs]
    names = [spec.name for spec in graph.input_specs()]
    open_ones = [(name, t) for name, t in zip(names, inputs, strict=True) if t.dynamic]
    batches = [
        (name, t)
        for name, t in zip(names, inputs, strict=True)
        if t.shape[:1] not in {(), (1,)} and name not in wished and not t.dynamic
    ]
    return [
        *(
            f"input {name} has the dynamic shape {shown(t)}: export the model with fixed sizes, or give them in the "
            f"recipe, [source.shapes] {name} = [1, ...]"
            for name, t in open_ones
        ),
        *(
            f"input {name} has the shape {shown(t)}, whose first axis is no batch of 1: if it is a state, name the "
            f"output that it is fed back from ([inputs.{name}] feedback = ...), else write it as [source.shapes] "
            f"{name} = {list(t.shape)}"
            for name, t in batches
        ),
    ]
