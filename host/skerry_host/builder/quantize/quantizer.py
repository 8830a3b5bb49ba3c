"""Quantizes with litert-quantizer: static 8 or 16 bit, or dynamic range. Measures nothing: `ranges` has calibrated."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe_manager
from msgspec.structs import replace as replan

from skerry_host.builder.modelfile.graph import Graph, Op
from skerry_host.builder.modelfile.islands import scope
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize import decompose, dense_rows
from skerry_host.builder.quantize.named_layers import meant
from skerry_host.builder.quantize.step import Draft, Step, always
from skerry_host.builder.quantize.tensorflow import quantized_by_tensorflow
from skerry_host.builder.recipe.recipe import Quantize

BITS = {"int8": 8, "int16": 16}
_NOT = algorithm_manager.AlgorithmName.NO_QUANTIZE
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.INT16)
_Name = qtyping.TFLOperationName
_WEIGHTED = (_Name.CONV_2D, _Name.DEPTHWISE_CONV_2D, _Name.FULLY_CONNECTED)
_IO_OPS = (_Name.INPUT, _Name.OUTPUT)
_ALGORITHMS = {
    "min-max": algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT,
    "octav": algorithm_manager.AlgorithmName.OCTAV,
}


def _recipe(plan: Quantize, graph: Graph) -> qtyping.ModelQuantizationRecipe:
    """Per-channel weights where every runtime has them: never in FULLY_CONNECTED, which needs version 12 for that.

    Other ways to choose a range are for weights: constants between operators are few values, and OCTAV takes none.
    """
    tensorwise, channelwise = qtyping.QuantGranularity.TENSORWISE, qtyping.QuantGranularity.CHANNELWISE
    manager = recipe_manager.RecipeManager()
    wide = [_exactly(graph, op) for op in wide_ops(graph, plan)]
    scopes = {".*": plan.activations, **dict.fromkeys(wide, "int16")}
    grains = {_Name.ALL_SUPPORTED: plan.per_channel, **dict.fromkeys(_WEIGHTED, plan.per_channel)}
    for where, activations in scopes.items():
        for operation, per_channel in (grains | {_Name.FULLY_CONNECTED: False}).items():
            grain = channelwise if per_channel else tensorwise
            algorithm = _ALGORITHMS[plan.weight_ranges if operation in _WEIGHTED else "min-max"]
            if activations == "float":
                manager.add_dynamic_config(where, operation, 8, grain, algorithm)
            else:
                manager.add_static_config(where, operation, BITS[activations], 8, grain, algorithm)
    for op in meant(graph, plan.keep_float):
        manager.add_quantization_config(_exactly(graph, op), _Name.ALL_SUPPORTED, algorithm_key=_NOT)
    own = [*wide, *(_exactly(graph, op) for op in meant(graph, plan.keep_float))]
    for where in (".*", *own) if plan.io == "float" else own:
        for end in _IO_OPS:  # of the model, whatever stands before
            if plan.io == "float":
                manager.add_quantization_config(where, end, algorithm_key=_NOT)
            else:
                manager.add_static_config(where, end, 8, 8, tensorwise)
    return manager.get_quantization_recipe()


def wide_ops(graph: Graph, plan: Quantize) -> list[Op]:
    """The operators that `int16_layers` mean, and the parts that they were decomposed into."""
    meant_ops = meant(graph, plan.int16_layers)
    names = {scope(graph, op) + part for op in meant_ops for part in ("", *decompose.HELPERS, *dense_rows.HELPERS)}
    return [op for op in graph.ops if scope(graph, op) in names]


def _exactly(graph: Graph, op: Op) -> str:
    """The regular expression that means one operator to litert-quantizer: all that it writes, with a semicolon each."""
    return "^" + re.escape("".join(f"{graph.tensors[i].name};" for i in op.outputs)) + "$"


def quantize_model(draft: Draft) -> Draft:
    """The quantized model; raises whatever the quantizer does."""
    if draft.plan.quantizer == "tensorflow":
        kept = [scope(draft.source.graph, op) for op in meant(draft.source.graph, draft.plan.keep_float)]
        return replace(draft, model=quantized_by_tensorflow(draft, kept))
    draft.progress("quantizing")
    made = quantizer.Quantizer(bytearray(draft.source.data), _recipe(draft.plan, draft.source.graph))
    result = made.quantize(draft.ranges, enable_progress_bar=False, enable_progress_report=False)
    model = read_model(bytes(result.quantized_model))
    give_unread_outputs_a_form(model)
    return replace(draft, model=model)


def give_unread_outputs_a_form(model: Any) -> None:
    """Let an output that nothing reads be of the integers of its operator's others: the quantizer leaves it float.

    No kernel of SPLIT runs with outputs of two types.
    """
    main = model.subgraphs[0]
    for op in main.operators:
        outputs = [main.tensors[int(i)] for i in op.outputs]
        done = next((t for t in outputs if t.type in _INTEGERS), None)
        for tensor in outputs:
            if done is not None and tensor.type == schema.TensorType.FLOAT32:
                tensor.type, tensor.quantization = done.type, done.quantization


def weights(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """Other ways to choose the weights' scales."""
    if plan.weight_ranges != "octav":
        yield "weights clipped (octav)", replan(plan, weight_ranges="octav")
    if plan.per_channel:
        yield "one scale per tensor", replan(plan, per_channel=False)


STEP = Step(
    "quantize",
    always,
    quantize_model,
    keys=(
        "weights",
        "activations",
        "io",
        "per_channel",
        "weight_ranges",
        "quantizer",
        "keep_float",
        "int16_layers",
    ),
    choices=weights,
    search_order=2,
    remedies={"one scale": "per_channel = true"},
)
