"""Weights rounded together lose less of a layer's outputs than each at its nearest, on samples that were not seen."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from msgspec.structs import replace as replan

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.moments import WIDEST, patches, places
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.rounding import rounded_together
from skerry_host.builder.quantize.weights import real_weights, replace, values, weighted
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from tests.kit.float_graphs import FloatMaker, answers, options, source_of

CHANNELS = 8
TOGETHER = Quantize(rounding="together")
INT16 = Quantize(activations="int16", io="int16", rounding="together")


def drawn(*shape: int, seed: int = 7, mean: float = 0.0) -> np.ndarray:
    """The same numbers whatever ran before."""
    return np.random.default_rng(seed).normal(mean, 1, shape)


def correlated(count: int, seed: int) -> np.ndarray:
    """Maps (N, 6, 5, channels) of few sources, smooth in space, so that neighbours and channels tell of each other."""
    maps = drawn(count, 8, 7, 3, seed=seed, mean=0.3)
    smooth = sum(maps[:, i : i + 6, j : j + 5] for i in range(3) for j in range(3)) / 3
    mixed = smooth @ MIX + 0.05 * drawn(count, 6, 5, CHANNELS, seed=seed + 1)
    return np.maximum(mixed, -0.5).astype(np.float32)


MIX = drawn(3, CHANNELS)
SEEN, HELD_OUT = correlated(40, 1), correlated(40, 3)
SAMPLES = Samples.of(SEEN)


def convolution(kernel: tuple[int, int], outputs: int = 6, groups: int = 1, **how: Any) -> bytes:
    how = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1} | how
    weights = drawn(outputs, *kernel, CHANNELS // groups)
    return _layer("CONV_2D", weights, outputs, options("Conv2D", **how))


def depthwise(kernel: tuple[int, int], multiplier: int = 1, **how: Any) -> bytes:
    how = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1} | how
    weights = drawn(1, *kernel, CHANNELS * multiplier)
    how["depthMultiplier"] = multiplier
    return _layer("DEPTHWISE_CONV_2D", weights, CHANNELS * multiplier, options("DepthwiseConv2D", **how))


def _layer(kind: str, weights: np.ndarray, outputs: int, how: Any) -> bytes:
    m = FloatMaker()
    m.real("x", (1, 6, 5, CHANNELS))
    size = _sizes(how, weights.shape[1:3])
    m.real("y", (1, *size, outputs))
    reads = ["x", m.constant("w", weights), m.constant("b", drawn(outputs) / 10)]
    m.op(kind, reads, ["y"], 1, how)
    return m.data(["x"], ["y"])


def _sizes(how: Any, kernel: tuple[int, ...]) -> list[int]:
    strides, dilations = (how.strideH, how.strideW), (how.dilationHFactor, how.dilationWFactor)
    reach = [0 if how.padding == schema.Padding.SAME else (k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    return [-(-(there - r) // s) for there, r, s in zip((6, 5), reach, strides, strict=True)]


def dense(inputs: int = 6 * 5 * CHANNELS, outputs: int = 5) -> bytes:
    m = FloatMaker()
    m.real("x", (1, 6, 5, CHANNELS))
    m.real("flat", (1, inputs))
    m.real("y", (1, outputs))
    m.op("RESHAPE", ["x", m.constant("shape", [1, inputs], "int32")], ["flat"], 1, options("Reshape"))
    reads = ["flat", m.constant("w", drawn(outputs, inputs))]
    m.op("FULLY_CONNECTED", reads, ["y"], 1, options("FullyConnected"))
    return m.data(["x"], ["y"])


VALID = schema.Padding.VALID
LAYERS: dict[str, Callable[[], bytes]] = {
    "1x1": lambda: convolution((1, 1)),
    "3x3, stride 2": lambda: convolution((3, 3), strideW=2, strideH=2),
    "3x2, not padded, dilated": lambda: convolution((3, 2), padding=VALID, dilationHFactor=2, dilationWFactor=3),
    "two groups": lambda: convolution((3, 3), groups=2),
    "depthwise": lambda: depthwise((3, 3)),
    "depthwise, stride 2, two for each": lambda: depthwise((5, 3), 2, strideW=2, strideH=2),
    "dense": dense,
}


def made(data: bytes, plan: Quantize) -> bytes:
    return quantize(source_of(data), SAMPLES, Feeding(), plan)


def weights_alone(data: bytes, quantized: bytes) -> bytes:
    """The float model with the quantized one's weights, as they are in real numbers."""
    floats, integers = read_model(data), read_model(quantized)
    for one, two in zip(weighted(floats), weighted(integers), strict=True):
        replace(floats, one.weight, real_weights(integers, two).astype(np.float32))
    return write_model(floats)


def without_weights(data: bytes) -> bytes:
    model = read_model(data)
    for layer in weighted(model):
        replace(model, layer.weight, np.zeros(1, np.int8))
    return write_model(model)


def integers(data: bytes) -> list[np.ndarray]:
    model = read_model(data)
    return [values(model, layer.weight, "int8") for layer in weighted(model)]


@pytest.mark.parametrize("plan", [TOGETHER, INT16], ids=["int8", "int16"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_loses_less_on_samples_that_were_not_seen(kind: str, plan: Quantize):
    data = LAYERS[kind]()
    nearest = made(data, Quantize(activations=plan.activations, io=plan.io))
    together = made(data, plan)
    samples = HELD_OUT[:, None]
    real, one, two = (answers(d, samples) for d in (data, *(weights_alone(data, d) for d in (nearest, together))))
    assert sqnr_db(real, two) > sqnr_db(real, one) + 1
    assert without_weights(together) == without_weights(nearest)
    assert all(np.abs(part.astype(int)).max() <= 127 for part in integers(together))


def test_with_one_scale_for_a_tensor_and_with_corrected_biases_it_loses_less_still():
    data = convolution((3, 3))
    for one in (Quantize(per_channel=False), Quantize(bias_correction=True)):
        together = made(data, replan(one, rounding="together"))
        real, nearest, better = (answers(d, HELD_OUT[:, None]) for d in (data, made(data, one), together))
        assert sqnr_db(real, better) > sqnr_db(real, nearest)


def test_two_samples_are_enough_where_inputs_tell_of_each_other():
    data, few = convolution((3, 3)), Samples.of(SEEN[:2])
    nearest, together = (quantize(source_of(data), few, Feeding(), plan) for plan in (Quantize(), TOGETHER))
    quantized = (weights_alone(data, model) for model in (nearest, together))
    real, one, two = (answers(d, HELD_OUT[:, None]) for d in (data, *quantized))
    assert sqnr_db(real, two) > sqnr_db(real, one) + 1


@pytest.mark.parametrize("count", [1, 12, 40])
def test_a_layer_that_only_its_own_samples_would_gain_of_keeps_its_weights(count: int):
    """Noise: rounded by 40 samples, 240 weights would lose 10 dB less on them, and some 3 dB more on others."""
    noise = drawn(count, 6, 5, CHANNELS, seed=count).astype(np.float32)
    source, samples = source_of(dense()), Samples.of(noise)
    assert quantize(source, samples, Feeding(), TOGETHER) == quantize(source, samples, Feeding(), Quantize())


def test_nearest_is_what_a_recipe_without_the_key_gets_and_the_same_source_gives_the_same_bytes():
    data = convolution((3, 3))
    (plain,) = integers(made(data, Quantize()))
    (layer,) = weighted(read_model(data))
    real = values(read_model(data), layer.weight, "float32")
    scale = np.abs(real).max(axis=(1, 2, 3), keepdims=True) / 127
    assert np.abs(real / scale - plain).max() < 0.501
    assert made(data, TOGETHER) == made(data, TOGETHER)
    assert np.abs(plain - integers(made(data, TOGETHER))[0].astype(int)).max() >= 1


def test_a_layer_of_too_many_inputs_keeps_its_nearest_weights():
    pixels = np.repeat(SEEN.reshape(40, -1), 9, axis=1)[:, : WIDEST + 1]
    m = FloatMaker()
    m.real("x", (1, WIDEST + 1))
    m.real("y", (1, 2))
    m.op(
        "FULLY_CONNECTED",
        ["x", m.constant("w", drawn(2, WIDEST + 1))],
        ["y"],
        1,
        options("FullyConnected"),
    )
    source, samples = source_of(m.data(["x"], ["y"])), Samples.of(pixels)
    assert quantize(source, samples, Feeding(), TOGETHER) == quantize(source, samples, Feeding(), Quantize())


def test_what_stays_float_is_left_and_a_model_trained_with_quantization_is_refused():
    data = convolution((1, 1))
    kept = Quantize(keep_float=("y",), io="float")
    assert made(data, replan(kept, rounding="together")) == made(data, kept)
    trained = dataclasses.replace(source_of(data), trained={"y": (-1.0, 1.0)})
    with pytest.raises(ModelError, match="trained with") as caught:
        quantize(trained, SAMPLES, Feeding(), TOGETHER)
    assert caught.value.code == "trained"


HOW = [
    {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": schema.Padding.SAME},
    {"strideW": 2, "strideH": 3, "dilationWFactor": 1, "dilationHFactor": 1, "padding": schema.Padding.SAME},
    {"strideW": 1, "strideH": 1, "dilationWFactor": 3, "dilationHFactor": 2, "padding": schema.Padding.SAME},
    {"strideW": 2, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": schema.Padding.VALID},
    {"strideW": 1, "strideH": 1, "dilationWFactor": 2, "dilationHFactor": 2, "padding": schema.Padding.VALID},
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2)])
def test_patches_are_what_the_runtime_multiplies(kernel: tuple[int, int], how: dict[str, Any]):
    data = convolution(kernel, **how)
    model = read_model(data)
    (layer,) = weighted(model)
    weights, bias = values(model, layer.weight, "float32"), values(model, layer.bias, "float32")
    found = patches(HELD_OUT[:1], layer.options, kernel, 1000, 0.0)
    ours = found.reshape(len(found), -1) @ weights.reshape(len(weights), -1).T + bias
    theirs = answers(data, HELD_OUT[:1, None])
    assert np.allclose(ours, theirs.reshape(ours.shape), atol=1e-4)


def test_places_are_few_different_and_from_all_over_and_move_on():
    assert places(5, 8, 0.5).tolist() == [0, 1, 2, 3, 4]
    assert places(100, 4, 0.0).tolist() == [0, 25, 50, 75]
    assert places(100, 4, 0.9).tolist() == [22, 47, 72, 97]


def test_inputs_that_go_together_make_up_for_each_other():
    """Both weights round down at their nearest, to nothing; together one of them goes up."""
    weights, scales = np.array([[[0.4, 0.4]]]), np.ones((1, 1))
    same = np.full((1, 2, 2), 10.0)
    assert sorted(rounded_together(weights, scales, same)[0, 0]) == [0, 1]
    assert rounded_together(weights, scales, np.eye(2)[None]).tolist() == [[[0, 0]]]


def test_inputs_that_are_always_zero_keep_the_nearest():
    """The last one's weight is rounded by itself, and makes up for nothing."""
    sums = np.zeros((1, 3, 3))
    sums[0, :2, :2] = 10.0
    weights = np.array([[[0.4, 0.4, 1.6], [0.4, 0.4, -1.4]]])
    assert rounded_together(weights, np.ones((1, 2)), sums)[0, :, 2].tolist() == [2, -1]
    nothing = rounded_together(weights, np.ones((1, 2)), np.zeros((1, 3, 3)))
    assert nothing[0].tolist() == [[0, 0, 2], [0, 0, -1]]


def test_more_columns_than_a_block_are_made_up_for_and_stay_in_range():
    rows = drawn(500, 20) @ drawn(20, 150, seed=8) + 0.1 * drawn(500, 150, seed=9)
    weights = drawn(1, 7, 150)
    scales = np.abs(weights).max(axis=2) / 127 * 8  # coarse, so that errors add up
    sums = (rows.T @ rows)[None]
    steps = rounded_together(weights, scales, sums)
    nearest = np.rint(weights / scales[:, :, None])

    def error(found: np.ndarray, inputs: np.ndarray) -> float:
        return float((((weights - found * scales[:, :, None]) @ inputs.T) ** 2).sum())

    assert error(steps, rows) < 0.3 * error(nearest, rows)
    clipped = rounded_together(weights * 20, scales, sums)
    assert np.abs(clipped).max() == 127
