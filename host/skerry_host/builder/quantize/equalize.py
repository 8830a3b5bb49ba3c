"""Cross-layer equalization: scales weights of adjacent layers so that channels have similar ranges. Keeps the outputs.

Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization through Weight Equalization and Bias Correction (ICCV
2019), section 4.1. Valid if only positively homogeneous functions lie between two layers: nothing or RELU, not RELU6.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.quantize.weights import WeightedLayer, replace, values, weighted
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

ROUNDS = 3
LIMIT = 1e3
"""The largest factor in either direction: beyond it, float rounding errors would show."""
_HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


def equalize(source: SourceModel) -> SourceModel:
    """The same model with equalized weights; the same bytes where no two layers can be."""
    model = read_model(source.data)
    joined = list(pairs(model))
    if not joined:
        return source
    for _ in range(ROUNDS):
        for before, after in joined:
            _balance(model, before, after)
    return dataclasses.replace(source, data=write_model(model))


def pairs(model: Any) -> Iterator[tuple[WeightedLayer, WeightedLayer]]:
    """Layers of which the second alone reads the first, with nothing between that would notice a factor."""
    main = model.subgraphs[0]
    layers = {layer.input: layer for layer in weighted(model)}
    readers = [int(i) for op in main.operators for i in op.inputs]
    outputs = {int(i) for i in main.outputs}
    for before in layers.values():
        after = layers.get(before.output)
        alone = readers.count(before.output) == 1 and before.output not in outputs
        if after and alone and before.options.fusedActivationFunction in _HOMOGENEOUS and _single(model, after):
            yield before, after


def _single(model: Any, layer: WeightedLayer) -> bool:
    """Whether each input channel of a layer has its own place in the weights."""
    channels = model.subgraphs[0].tensors[layer.input].shape[-1]
    return bool(model.subgraphs[0].tensors[layer.weight].shape[layer.in_axis] == channels)


def _balance(model: Any, before: WeightedLayer, after: WeightedLayer) -> None:
    one, two = values(model, before.weight, "float32"), values(model, after.weight, "float32")
    first, second = _range(one, before.out_axis), _range(two, after.in_axis)
    usable = (first > 0) & (second > 0)
    factor = np.ones_like(first)
    factor[usable] = np.clip(np.sqrt(second[usable] / first[usable]), 1 / LIMIT, LIMIT)
    replace(model, before.weight, one * _along(factor, before.out_axis, one.ndim))
    replace(model, after.weight, two / _along(factor, after.in_axis, two.ndim))
    if before.bias is not None:
        replace(model, before.bias, values(model, before.bias, "float32") * factor)


def _range(weights: Array, axis: int) -> Array:
    """The largest magnitude along an axis (channels,)."""
    largest: Array = np.abs(np.moveaxis(weights, axis, 0)).reshape(weights.shape[axis], -1).max(axis=1)
    return largest


def _along(factor: Array, axis: int, ndim: int) -> Array:
    shape = [1] * ndim
    shape[axis] = len(factor)
    return factor.reshape(shape)


def _run(draft: Draft) -> Draft:
    if draft.source.trained:
        raise ModelError(
            "equalization would change the ranges that this model was trained with (QAT)",
            hint="leave equalize out of [quantize]",
            code="trained",
        )
    return dataclasses.replace(draft, source=equalize(draft.source))


def choices(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """Scale moved between layers."""
    if not plan.equalize:
        yield "cross-layer equalization", msgspec.structs.replace(plan, equalize=True)


STEP = Step(
    "cross-layer equalization", lambda plan: plan.equalize, _run, keys=("equalize",), choices=choices, search_order=3
)
