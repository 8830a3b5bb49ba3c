"""Older ONNX for the onnx target: raised to a version that int8 by channel can be written in, and quantized on."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.onnx import describe_onnx
from skerry_host.builder.quantize.onnx import quantize_onnx
from skerry_host.builder.quantize.onnx_opset import _raised, at_opset
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

RANDOM = np.random.default_rng(4)


def model(nodes, shape, constants, opset):
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "g", ends, outs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def old(axis=1):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Unsqueeze", ["m"], ["u"], axes=[0]),
        helper.make_node("Split", ["u"], ["a", "b"], axis=2, split=[2, 3]),
        helper.make_node("ReduceSum", ["b"], ["r"], axes=[1], keepdims=1),
        helper.make_node("Squeeze", ["r"], ["s"], axes=[0]),
        helper.make_node("Softmax", ["s"], ["y"], axis=axis),
    ]
    return model(nodes, (1, 4), {"w": RANDOM.normal(size=(4, 5))}, 11)


def old_copy(source):
    return onnx.load_from_string(source.SerializeToString())


def answer(data, x):
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    "raised", [lambda source: at_opset(source.SerializeToString(), 17), lambda source: _raised(source, 17)]
)
def test_a_raised_model_computes_the_same(raised):
    """The standard's own converter writes some models that do not load (basic-pitch): by hand then."""
    source, x = old(), RANDOM.normal(size=(1, 4)).astype(np.float32)
    made = raised(source)
    assert onnx.load_from_string(made).opset_import[0].version == 17
    np.testing.assert_allclose(answer(made, x), answer(source.SerializeToString(), x), atol=1e-6)


def test_a_softmax_over_several_axes_is_not_raised():
    with pytest.raises(ValueError, match="is over several axes"):
        _raised(old(axis=0), 17)


@pytest.mark.parametrize("bias", [0.5, [0.5], [0.1, 0.2, 0.3]])
def test_what_the_quantizer_fails_on_by_channel_is_quantized_with_less(bias):
    """`IndexError: too many indices for array` and `The truth value of an array is ambiguous` ended the build."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    data = model(nodes, (1, 4), {"w": RANDOM.normal(size=(3, 4)), "b": bias}, 17).SerializeToString()
    source = SourceModel(b"", describe_onnx(data), "", 0, (), onnx=data)
    samples = Samples.of(RANDOM.normal(size=(8, 4)).astype(np.float32))
    made = quantize_onnx(source, samples, Feeding((Preprocess(),)), Quantize())
    x = samples.inputs[0][0][None]
    np.testing.assert_allclose(answer(made, x), answer(data, x), atol=0.1)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load_from_string(made).graph.node}
