"""Activations that integers have no kernel for are decomposed into ones that have, to 16 bits and in single layers."""

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.recipe import Quantize
from tests.kit.float_graphs import FloatMaker, answers, kinds, options, source_of

RANDOM = np.random.default_rng(7)
VALUES = RANDOM.normal(0, 2, (32, 4, 4, 4)).astype(np.float32)


def network(kind: str, steepest: float = 0.4) -> bytes:
    """A product by channel, an activation, a product by channel."""
    m = FloatMaker()
    for name in ("x", "h", "act", "y"):
        m.real(name, (1, 4, 4, 4))
    m.op("MUL", ["x", m.constant("a", np.linspace(0.5, 1.5, 4))], ["h"], 1, options("Mul"))
    slopes = [m.constant("slopes", np.linspace(-0.1, steepest, 4).reshape(1, 1, 4))] if kind == "PRELU" else []
    m.op(kind, ["h", *slopes], ["act"], 1, options("HardSwish") if kind == "HARD_SWISH" else None)
    m.op("MUL", ["act", m.constant("b", np.linspace(1.5, 0.5, 4))], ["y"], 1, options("Mul"))
    return m.data(["x"], ["y"])


@pytest.mark.parametrize("kind", ["HARD_SWISH", "PRELU"])
def test_16_bits_have_a_kernel_for_every_part(kind: str):
    source = source_of(network(kind))
    made = quantize(source, Samples.of(VALUES), Feeding(), Quantize(activations="int16", io="int16"))
    assert kind not in kinds(made)
    graph = describe(read_model(made))
    assert {graph.tensors[op.outputs[0]].dtype for op in graph.ops} == {"int16"}
    assert sqnr_db(answers(source.data, VALUES[:, None]), answers(made, VALUES[:, None])) > 60


@pytest.mark.parametrize("kind", ["HARD_SWISH", "PRELU"])
def test_a_layer_that_gets_16_bits_gets_them_in_all_its_parts(kind: str):
    source = source_of(network(kind))
    made = quantize(source, Samples.of(VALUES), Feeding(), Quantize(int16_layers=("act",)))
    graph = describe(read_model(made))
    wide = {graph.tensors[op.outputs[0]].dtype for op in graph.ops if "act" in graph.tensors[op.outputs[0]].name}
    assert kind not in kinds(made)
    assert "int16" in wide
    parts = [op for op in graph.ops if graph.tensors[op.outputs[0]].name.startswith("act/")]
    assert len(parts) >= 2
    assert all(graph.tensors[i].dtype == "int16" for op in parts for i in op.outputs)


@pytest.mark.parametrize(("steepest", "parts"), [(1.0, ["MUL", "MUL", "ADD"]), (1.5, ["MUL", "MUL", "MUL", "SUB"])])
def test_no_slope_needs_the_slow_kernel_of_8_bits(steepest: float, parts: list[str]):
    made = quantize(source_of(network("PRELU", steepest)), Samples.of(VALUES), Feeding(), Quantize())
    assert kinds(made) == ["MUL", *parts, "MUL"]
    real = answers(network("PRELU", steepest), VALUES[:, None])
    assert sqnr_db(real, answers(made, VALUES[:, None])) > 30


@pytest.mark.parametrize("steepest", [20.0, -20.0])
def test_what_lies_above_zero_loses_nothing_by_a_steep_slope_below(steepest: float):
    samples = np.abs(VALUES) - 0.05
    source = source_of(network("PRELU", steepest))
    made = quantize(source, Samples.of(samples), Feeding(), Quantize(io="float"))
    assert "SUB" in kinds(made)
    assert sqnr_db(answers(source.data, samples[:, None])[..., 0], answers(made, samples[:, None])[..., 0]) > 30


def test_a_slope_of_one_sign_takes_three_operators():
    m = FloatMaker()
    for name in ("x", "y"):
        m.real(name, (1, 4, 4, 4))
    m.op("PRELU", ["x", m.constant("slopes", np.array([0.0, 0.25, 1.0, 3.0]))], ["y"], 1, None)
    source = source_of(m.data(["x"], ["y"]))
    made = quantize(source, Samples.of(VALUES), Feeding(), Quantize())
    assert kinds(made) == ["MUL", "MUL", "SUB"]
    assert sqnr_db(answers(source.data, VALUES[:, None]), answers(made, VALUES[:, None])) > 35


def test_two_activations_may_share_their_slopes():
    m = FloatMaker()
    for name in ("x", "h", "y"):
        m.real(name, (1, 4, 4, 4))
    slopes = m.constant("slopes", np.linspace(-0.3, 0.4, 4))
    m.op("PRELU", ["x", slopes], ["h"], 1, None)
    m.op("PRELU", ["h", slopes], ["y"], 1, None)
    source = source_of(m.data(["x"], ["y"]))
    made = quantize(source, Samples.of(VALUES), Feeding(), Quantize())
    assert sqnr_db(answers(source.data, VALUES[:, None]), answers(made, VALUES[:, None])) > 30


@pytest.mark.parametrize("kind", ["HARD_SWISH", "PRELU"])
@pytest.mark.parametrize("by", ["kind", "act"])
def test_an_activation_that_is_to_stay_float_stays_whole(kind: str, by: str):
    plan = Quantize(keep_float=(kind if by == "kind" else by,))
    made = quantize(source_of(network(kind)), Samples.of(VALUES), Feeding(), plan)
    assert kinds(made) == ["MUL", "DEQUANTIZE", kind, "QUANTIZE", "MUL"]


@pytest.mark.parametrize("kind", ["HARD_SWISH", "PRELU"])
def test_a_kind_of_activation_gets_16_bits_by_its_name(kind: str):
    source = source_of(network(kind))
    by_kind, by_layer = (
        quantize(source, Samples.of(VALUES), Feeding(), Quantize(int16_layers=(name,))) for name in (kind, "act")
    )
    assert by_kind == by_layer
