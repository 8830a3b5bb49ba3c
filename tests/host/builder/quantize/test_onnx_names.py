"""Names that onnxruntime's quantizer makes up, and that something else has already."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.quantize.onnx import quantize_onnx
from skerry_host.builder.quantize.onnx_names import own_names
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import load_onnx_alone

RANDOM = np.random.default_rng(5)


def two_convolutions(second: str, scale: str = "factor") -> bytes:
    """y = conv(x) - factor * conv(x) of one bias, `b`; the second convolution's output is called as asked."""
    real = {"w": (4, 3, 3, 3), "v": (4, 3, 3, 3), "b": (4,), scale: (1, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["one"], "first"),
        helper.make_node("Conv", ["x", "v", "b"], [second], "second"),
        helper.make_node("Neg", [second], ["turned"], "turn"),
        helper.make_node("Mul", ["turned", scale], ["scaled"], "times"),
        helper.make_node("Add", ["one", "scaled"], ["y"], "sum"),
    ]
    sizes = {"x": (1, 3, 8, 8), "y": (1, 4, 6, 6)}
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sizes.items()}
    constants = [numpy_helper.from_array(RANDOM.normal(0, 1, shape).astype("f"), name) for name, shape in real.items()]
    graph = helper.make_graph(nodes, "g", [ends["x"]], [ends["y"]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("second", "scale"), [("b0", "factor"), ("two", "b_quantized"), ("two", "turned_scale")])
def test_a_model_whose_names_the_quantizer_would_make_up_again_is_quantized(tmp_path, second: str, scale: str):
    """basic-pitch: a bias `conv1d_25` that 18 convolutions share, beside an output `conv1d_252`."""
    (tmp_path / "m.onnx").write_bytes(two_convolutions(second, scale))
    source = load_onnx_alone(tmp_path / "m.onnx")
    samples = Samples.of(RANDOM.normal(0, 1, (20, 3, 8, 8)).astype(np.float32))
    made = quantize_onnx(source, samples, Feeding(), Quantize())
    assert any(node.op_type == "DequantizeLinear" for node in onnx.load_from_string(made).graph.node)
    given = samples.inputs[0][0][None]
    wanted, got = (Session(data).run([given])[0] for data in (source.onnx, made))
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


def test_other_models_stay_as_they_are_byte_for_byte():
    data = two_convolutions("two")
    assert own_names(data) is data
