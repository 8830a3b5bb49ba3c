"""The onnx target on a small network: every layer beside the float one, and the damage found where it was done."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.diagnose.activations import activations_of
from skerry_host.builder.diagnose.advice import Tried, explain, first_lost
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.diagnose.layers import layers
from skerry_host.builder.modelfile.cost import costs
from skerry_host.builder.modelfile.onnx import describe_onnx
from skerry_host.builder.quantize.onnx import quantize_onnx
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.table import BUILDERS

PREP = Feeding((Preprocess(layout="nchw"),))
RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.normal(size=(24, 12, 12, 3)).cumsum(axis=1).astype(np.float32)
SAMPLES = Samples.of(IMAGES)


def network() -> bytes:
    """Two convolutions, a pool, a mean and a dense layer; NCHW, opset 17."""

    def weights(name: str, *shape: int):
        return numpy_helper.from_array((RANDOM.normal(size=shape) / 4).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["first"], pads=[1, 1, 1, 1], name="c1"),
        helper.make_node("Relu", ["first"], ["clamped"], name="r1"),
        helper.make_node("MaxPool", ["clamped"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2], name="p1"),
        helper.make_node("Conv", ["pooled", "w2", "b2"], ["second"], pads=[1, 1, 1, 1], name="c2"),
        helper.make_node("GlobalAveragePool", ["second"], ["mean"], name="g"),
        helper.make_node("Flatten", ["mean"], ["flat"], name="f"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["scores"], transB=1, name="d"),
    ]
    parameters = [weights("w1", 8, 3, 3, 3), weights("b1", 8), weights("w2", 6, 8, 3, 3), weights("b2", 6)]
    parameters += [weights("w3", 4, 6), weights("b3", 4)]
    ends = [helper.make_tensor_value_info(*end) for end in (("image", 1, (1, 3, 12, 12)), ("scores", 1, (1, 4)))]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], parameters)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture(scope="module")
def plain() -> bytes:
    return network()


@pytest.fixture(scope="module")
def int8(plain: bytes) -> bytes:
    return quantize_onnx(SourceModel(b"", describe_onnx(plain), "", 0, (), onnx=plain), SAMPLES, PREP, Quantize())


def compared(plain: bytes, int8: bytes) -> list[LayerStats]:
    return layers(activations_of(plain), activations_of(int8), SAMPLES.subset(range(6)).inputs, PREP)


def changed(int8: bytes, name: str, change) -> bytes:
    """The model with one of its constants changed."""
    model = onnx.load_from_string(int8)
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    return model.SerializeToString()


def test_every_operator_is_compared_with_the_float_one(plain: bytes, int8: bytes):
    found = compared(plain, int8)
    assert [layer.op for layer in found] == ["Conv", "MaxPool", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert [layer.channels for layer in found] == [8, 8, 6, 6, 6, 4]
    assert found[0].tensor == "clamped"  # the clamp is what the integers' range does
    assert found[-1].tensor == "scores"
    assert min(layer.sqnr_db for layer in found) > 25
    assert min(layer.cosine for layer in found) > 0.99
    assert first_lost(found, 20) is None


def test_layers_have_the_places_of_the_operators(plain: bytes, int8: bytes):
    ops = {op.index: op.name for op in describe_onnx(int8).ops}
    assert all(ops[layer.index] == layer.op for layer in compared(plain, int8))


def test_a_range_that_is_far_too_small_is_found_where_it_is(plain: bytes, int8: bytes):
    hurt = changed(int8, "second_scale", lambda scale: scale / 40)
    found = compared(plain, hurt)
    lost = first_lost(found, 20)
    assert (lost.op, lost.tensor) == ("Conv", "second")
    assert lost.clipped > 0.3
    words = explain(found, 20, Tried(BUILDERS["onnx"].last_resort, searched=True))
    assert "the signal is first lost, under 20 dB, at Conv second" in words
    assert "search = true" not in words
    assert "or the cpu target" in words


def test_dead_channels_are_counted(plain: bytes, int8: bytes):
    found = compared(plain, changed(int8, "w2_quantized", np.zeros_like))
    (layer,) = (layer for layer in found if layer.tensor == "second")
    assert (layer.dead, layer.channels) == (6, 6)


def test_what_is_compared_is_what_the_runtime_computes(plain: bytes, int8: bytes):
    one, two = activations_of(int8), Session(int8)
    one.run((IMAGES[0],), PREP)
    np.testing.assert_allclose(one.real("scores"), two.run_raw((IMAGES[0],), PREP)[0], atol=0.05)


def test_multiply_adds_are_those_of_the_float_model(plain: bytes, int8: bytes):
    counts = [{cost.op: cost for cost in costs(describe_onnx(data))} for data in (plain, int8)]
    for found in counts:
        assert found["Gemm"].macs == 6 * 4
        assert found["Conv"].macs == 6 * 6 * 6 * 8 * 9
        assert found["MaxPool"].macs == 6 * 6 * 8 * 4
    assert counts[1]["Conv"].parameter_bytes == 6 * 8 * 9 + 4 * 6  # int8 weights, int32 biases
    assert counts[0]["Conv"].parameter_bytes == 4 * (6 * 8 * 9 + 6)
    assert "QuantizeLinear" not in counts[1]


def test_an_old_opset_becomes_one_that_runtimes_load(plain: bytes):
    """Trap 7: by channel on opset 11, onnxruntime writes a graph that it cannot load itself."""
    old = onnx.load_from_string(plain)
    old.opset_import[0].version = 11  # these operators meant the same then
    data = old.SerializeToString()
    made = quantize_onnx(SourceModel(b"", describe_onnx(data), "", 0, (), onnx=data), SAMPLES, PREP, Quantize())
    assert onnx.load_from_string(made).opset_import[0].version >= 17
    assert Session(made).run_raw((IMAGES[0],), PREP)[0].shape == (1, 4)


@pytest.mark.parametrize("calibrator", ["moving-average", "min-max", "percentile", "mse"])
def test_each_calibrator_makes_a_model_that_runs(plain: bytes, calibrator: str):
    source = SourceModel(b"", describe_onnx(plain), "", 0, (), onnx=plain)
    made = quantize_onnx(source, SAMPLES, PREP, Quantize(calibrator=calibrator))
    assert min(layer.sqnr_db for layer in compared(plain, made)) > 15
