"""Boxes in pixels and scores in 0..1 that an ONNX model gives in one output keep the scales that they have."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.onnx import describe_onnx
from skerry_host.builder.quantize.onnx import last_concatenations, quantize_onnx
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel

ROWS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)


def head() -> bytes:
    """(1, 4 + 3) behind a layout: four numbers of up to 640, three of up to 1."""
    rng = np.random.default_rng(1)
    values = {"wb": rng.normal(size=(8, 4)), "ws": rng.normal(size=(8, 3)), "pixels": np.array(640.0)}
    nodes = [
        helper.make_node("MatMul", ["x", "wb"], ["b"], name="boxes"),
        helper.make_node("Sigmoid", ["b"], ["share"], name="share"),
        helper.make_node("Mul", ["share", "pixels"], ["box"], name="scaled"),
        helper.make_node("MatMul", ["x", "ws"], ["s"], name="scores"),
        helper.make_node("Sigmoid", ["s"], ["score"], name="score"),
        helper.make_node("Concat", ["box", "score"], ["all"], name="joined", axis=1),
        helper.make_node("Unsqueeze", ["all", "one"], ["y"], name="last"),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    ends = [
        helper.make_tensor_value_info(*end)
        for end in (("x", TensorProto.FLOAT, [1, 8]), ("y", TensorProto.FLOAT, [1, 1, 7]))
    ]
    graph = helper.make_graph(nodes, "head", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def answers(data: bytes) -> np.ndarray:
    session = Session(data)
    return np.concatenate([session.run([row[np.newaxis]])[0] for row in ROWS]).reshape(len(ROWS), 7)


def test_what_only_puts_outputs_together_stays_float_and_scores_are_not_lost():
    data = head()
    assert last_concatenations(data) == ["joined"]
    source = SourceModel(data, describe_onnx(data), "0" * 64, len(data), (), onnx=data)
    made = quantize_onnx(source, Samples.of(ROWS), Feeding((Preprocess(),)), Quantize())
    wanted, got = answers(data), answers(made)
    assert "DequantizeLinear" in {op.name for op in describe_onnx(made).ops}
    assert np.abs(wanted[:, 4:] - got[:, 4:]).max() < 0.1
    assert np.abs(wanted[:, :4] - got[:, :4]).max() < 40
