"""Scales of weights: a fine one leaves a bias no room, and one for a whole dense layer leaves small rows no signal."""

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.bias_room import least_scales
from skerry_host.builder.quantize.dense_rows import by_rows
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.weights import values, weighted
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from tests.kit.float_graphs import FloatMaker, answers, kinds, options, source_of

RANDOM = np.random.default_rng(11)
VALUES = RANDOM.normal(0, 1, (32, 4, 4, 3)).astype(np.float32)
ROWS = RANDOM.normal(0, 1, (32, 12)).astype(np.float32)
INT16 = Quantize(activations="int16", io="int16")


def pruned(weight: float) -> bytes:
    """A convolution one channel of which has no weights but a bias, as pruned networks have them."""
    m = FloatMaker()
    m.real("x", (1, 4, 4, 3))
    kernel = RANDOM.normal(0, 0.5, (4, 1, 1, 3))
    kernel[2] = weight
    reads = ["x", m.constant("kernel", kernel), m.constant("bias", [0.1, -0.2, 6.0, 0.0])]
    m.real("y", (1, 4, 4, 4))
    m.op("CONV_2D", reads, ["y"], 1, options("Conv2D", strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1))
    return m.data(["x"], ["y"])


def dense(outputs: int = 4, rows: int = 1) -> bytes:
    """A dense layer one row of which reaches three times as far as another."""
    m = FloatMaker()
    m.real("x", (rows, 12))
    weights = RANDOM.normal(0, 1, (outputs, 12)) * np.logspace(0, -0.5, outputs)[:, None]
    m.real("y", (rows, outputs))
    m.op("FULLY_CONNECTED", ["x", m.constant("w", weights)], ["y"], 1, options("FullyConnected"))
    return m.data(["x"], ["y"])


@pytest.mark.parametrize("plan", [Quantize(), INT16, Quantize(per_channel=False)], ids=["int8", "int16", "one scale"])
@pytest.mark.parametrize("weight", [0.0, 1e-13])
def test_a_channel_without_weights_keeps_its_bias(weight: float, plan: Quantize):
    source = source_of(pruned(weight))
    made = quantize(source, Samples.of(VALUES), Feeding(), plan)
    real, got = (answers(data, VALUES[:, None])[..., 2] for data in (source.data, made))
    assert real.min() > 5.99
    assert np.abs(got - real).max() < 0.05


def masked(bias: float, activation: int) -> bytes:
    """A convolution one channel of which has a bias far out of what comes after its activation."""
    m = FloatMaker()
    m.real("x", (1, 4, 4, 3))
    m.real("y", (1, 4, 4, 4))
    kernel = np.random.default_rng(2).normal(0, 0.5, (4, 1, 1, 3))
    reads = ["x", m.constant("kernel", kernel), m.constant("bias", [0.1, -0.2, bias, 0.0])]
    form = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    m.op("CONV_2D", reads, ["y"], 1, options("Conv2D", **form, fusedActivationFunction=activation))
    return m.data(["x"], ["y"])


@pytest.mark.parametrize(("bias", "activation"), [(-1e9, 1), (-1e6, 3), (1e9, 3)])
@pytest.mark.parametrize("plan", [Quantize(), INT16, Quantize(per_channel=False)], ids=["int8", "int16", "one scale"])
def test_a_bias_that_no_input_brings_back_ruins_no_other_channel(bias: float, activation: int, plan: Quantize):
    source = source_of(masked(bias, activation))
    made = quantize(source, Samples.of(VALUES), Feeding(), plan)
    assert sqnr_db(answers(source.data, VALUES[:, None]), answers(made, VALUES[:, None])) > 35


@pytest.mark.parametrize("plan", [Quantize(), INT16], ids=["int8", "int16"])
def test_a_channel_of_a_transposed_convolution_without_weights_keeps_its_bias(plan: Quantize):
    m = FloatMaker()
    m.real("x", (1, 4, 4, 3))
    m.real("y", (1, 4, 4, 4))
    kernel = np.random.default_rng(2).normal(0, 0.5, (4, 1, 1, 3))
    kernel[2] = 1e-13
    shape = m.constant("shape", np.array([1, 4, 4, 4]), "int32")
    reads = [shape, m.constant("kernel", kernel), "x", m.constant("bias", [0.1, -0.2, 6.0, 0.0])]
    m.op("TRANSPOSE_CONV", reads, ["y"], 3, options("TransposeConv", strideW=1, strideH=1))
    source = source_of(m.data(["x"], ["y"]))
    made = quantize(source, Samples.of(VALUES), Feeding(), plan)
    real, got = (answers(data, VALUES[:, None])[..., 2] for data in (source.data, made))
    assert np.abs(got - real).max() < 0.05


def test_weights_that_leave_room_are_not_touched():
    source = source_of(pruned(0.5))
    before = read_model(quantize(source, Samples.of(VALUES), Feeding(), Quantize()))
    (layer,) = weighted(before)
    form = before.subgraphs[0].tensors[layer.weight].quantization
    assert np.abs(values(before, layer.weight, "int8")).max(axis=(1, 2, 3)).tolist() == [127] * 4
    read, written = (before.subgraphs[0].tensors[i].quantization.scale[0] for i in (layer.input, layer.output))
    assert np.all(form.scale > 1000 * least_scales(np.array([0.1, -0.2, 6.0, 0.0]), read, written))


def test_rows_of_a_dense_layer_have_scales_of_their_own_and_the_answer_its_shape():
    source, samples = source_of(dense()), Samples.of(ROWS)
    whole, rows = (quantize(source, samples, Feeding(), plan) for plan in (Quantize(), Quantize(dense_by_row=True)))
    real, one, many = (answers(data, ROWS[:, None]) for data in (source.data, whole, rows))
    assert kinds(rows) == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert real.shape == one.shape == many.shape
    assert len(read_model(rows).subgraphs[0].tensors) > len(read_model(whole).subgraphs[0].tensors)
    (layer,) = weighted(read_model(rows))
    assert len(read_model(rows).subgraphs[0].tensors[layer.weight].quantization.scale) == 4
    assert sqnr_db(real, many) > sqnr_db(real, one)


def test_by_rows_computes_the_same_and_leaves_what_is_named_or_has_one_row():
    source = source_of(dense(rows=3))
    samples = RANDOM.normal(0, 1, (4, 3, 12)).astype(np.float32)
    assert np.allclose(answers(source.data, samples), answers(by_rows(source).data, samples), atol=1e-5)
    assert by_rows(source, ("y",)).data == source.data
    with pytest.raises(ModelError, match="no layer"):
        by_rows(source, ("nothing",))


def test_dense_layers_that_share_their_weights_are_written_by_rows():
    m = FloatMaker()
    for name in ("x", "h", "y"):
        m.real(name, (1, 12))
    weights = m.constant("w", RANDOM.normal(0, 0.3, (12, 12)) * np.logspace(0, -1, 12)[:, None])
    m.op("FULLY_CONNECTED", ["x", weights], ["h"], 1, options("FullyConnected"))
    m.op("FULLY_CONNECTED", ["h", weights], ["y"], 1, options("FullyConnected"))
    source = source_of(m.data(["x"], ["y"]))
    made = quantize(source, Samples.of(ROWS), Feeding(), Quantize(dense_by_row=True))
    assert kinds(made).count("CONV_2D") == 2
    assert sqnr_db(answers(source.data, ROWS[:, None]), answers(made, ROWS[:, None])) > 30


def test_dense_layers_by_row_get_16_bits_by_the_name_of_their_kind():
    source = source_of(dense())
    by_kind, by_layer = (
        quantize(source, Samples.of(ROWS), Feeding(), Quantize(dense_by_row=True, int16_layers=(name,)))
        for name in ("FULLY_CONNECTED", "y")
    )
    assert by_kind == by_layer
    assert kinds(by_kind) == ["QUANTIZE", "RESHAPE", "CONV_2D", "RESHAPE", "QUANTIZE"]
