"""Bias correction: subtracts from each bias the mean error that the rounded weights cause in a layer's outputs.

Nagel et al. (ICCV 2019), section 4.2, with the means of the inputs measured on samples. Changes only int32 biases.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.inputs import Inputs, Runs
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.quantize.weights import WeightedLayer, counterparts, real_weights, replace, values
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

SAMPLES = 64


def correct(model: Any, source: SourceModel, inputs: Inputs, progress: Progress) -> int:
    """Correct the biases of a static int8 `schema.ModelT` in place; how many layers."""
    before = read_model(source.data)
    known = [(real, layer) for real, layer in counterparts(before, model) if _int8(model, layer)]
    means = _means(Runs(source, inputs, progress), tuple(sorted({one.input for one, _two in known})))
    for one, two in known:
        error = real_weights(model, two) - values(before, one.weight, "float32").astype(np.float64)
        _shift(model, two, expected_shift(error, means[one.input], two))
    return len(known)


def expected_shift(error: Array, mean: Array, layer: WeightedLayer) -> Array:
    """The mean change (O,) of a layer's outputs when its weights are off by `error` and its inputs have a mean (I,)."""
    channels = error.shape[layer.in_axis]
    if len(mean) != channels:  # a dense layer over a flattened map, or a depthwise one with a multiplier
        mean = np.repeat(mean, channels // len(mean)) if layer.kind != "FULLY_CONNECTED" else np.resize(mean, channels)
    if layer.kind == "DEPTHWISE_CONV_2D":
        depthwise: Array = (error * mean).sum(axis=(0, 1, 2))
        return depthwise
    full: Array = (error * mean).reshape(error.shape[0], -1).sum(axis=1)
    return full


def _shift(model: Any, layer: WeightedLayer, shift: Array) -> None:
    assert layer.bias is not None
    tensors = model.subgraphs[0].tensors
    weight_scale = np.asarray(tensors[layer.weight].quantization.scale, np.float64)
    step = weight_scale * float(tensors[layer.input].quantization.scale[0])
    steps = np.rint(values(model, layer.bias, "int32") - shift / step)
    limits = np.iinfo(np.int32)
    replace(model, layer.bias, np.clip(steps, limits.min, limits.max).astype(np.int32))


@lru_cache(maxsize=2)
def _means(runs: Runs, indices: tuple[int, ...]) -> dict[int, Array]:
    """The mean of each channel (last axis) of some activations of the float model."""
    some = runs.first(SAMPLES)
    sums: dict[int, Array] = {}
    for value_of in some.activations("measuring means"):
        for index in indices:
            found = value_of(index)
            mean = found.reshape(-1, found.shape[-1]).mean(axis=0, dtype=np.float64)
            sums[index] = sums.get(index, 0.0) + mean
    return {index: total / len(some.inputs) for index, total in sums.items()}


def _int8(model: Any, layer: WeightedLayer) -> bool:
    """Whether a layer computes on 8-bit integers with a 32-bit bias."""
    if layer.bias is None:
        return False
    kind = model.subgraphs[0].tensors[layer.weight].quantization
    bias = model.subgraphs[0].tensors[layer.bias]
    return kind is not None and kind.scale is not None and bias.type == schema.TensorType.INT32


def _run(draft: Draft) -> Draft:
    correct(draft.model, draft.source, draft.inputs, draft.progress)
    return draft


def choices(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """Biases that make up for rounded weights."""
    if not plan.bias_correction and plan.activations == "int8":
        yield "bias correction", msgspec.structs.replace(plan, bias_correction=True)


STEP = Step(
    "bias correction",
    lambda plan: plan.bias_correction and plan.activations == "int8",
    _run,
    keys=("bias_correction",),
    choices=choices,
    search_order=4,
)
