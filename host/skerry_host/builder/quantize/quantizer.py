"""Quantizes with litert-quantizer: static 8 or 16 bit, or dynamic range. Measures nothing: `ranges` has calibrated."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe_manager
from msgspec.structs import replace as replan

from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.step import Draft, Step, always
from skerry_host.builder.recipe.recipe import Quantize

BITS = {"int8": 8, "int16": 16}
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.INT16)
_Name = qtyping.TFLOperationName
_WEIGHTED = (_Name.CONV_2D, _Name.DEPTHWISE_CONV_2D, _Name.FULLY_CONNECTED)
_IO_OPS = (_Name.INPUT, _Name.OUTPUT)
_ALGORITHMS = {
    "min-max": algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT,
    "octav": algorithm_manager.AlgorithmName.OCTAV,
}


def _recipe(plan: Quantize) -> qtyping.ModelQuantizationRecipe:
    """Per-channel weights where every runtime has them: never in FULLY_CONNECTED, which needs version 12 for that.

    Other ways to choose a range are for weights: constants between operators are few values, and OCTAV takes none.
    """
    tensorwise, channelwise = qtyping.QuantGranularity.TENSORWISE, qtyping.QuantGranularity.CHANNELWISE
    manager = recipe_manager.RecipeManager()
    grains = {_Name.ALL_SUPPORTED: plan.per_channel, **dict.fromkeys(_WEIGHTED, plan.per_channel)}
    for operation, per_channel in (grains | {_Name.FULLY_CONNECTED: False}).items():
        grain = channelwise if per_channel else tensorwise
        algorithm = _ALGORITHMS[plan.weight_ranges if operation in _WEIGHTED else "min-max"]
        if plan.activations == "float":
            manager.add_dynamic_config(".*", operation, 8, grain, algorithm)
        else:
            manager.add_static_config(".*", operation, BITS[plan.activations], 8, grain, algorithm)
    if plan.io == "float":
        for end in _IO_OPS:
            manager.add_quantization_config(".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
    return manager.get_quantization_recipe()


def quantize_model(draft: Draft) -> Draft:
    """The quantized model; raises whatever the quantizer does."""
    draft.progress("quantizing")
    made = quantizer.Quantizer(bytearray(draft.source.data), _recipe(draft.plan))
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
    keys=("weights", "activations", "io", "per_channel", "weight_ranges"),
    choices=weights,
    search_order=2,
    remedies={"one scale": "per_channel = true"},
)
