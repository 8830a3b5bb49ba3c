"""Kinds of ONNX files that people have: half precision, scikit-learn's, with branches, with NMS, of onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import SourcePlan
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.sources.onnx_child import prepare
from tests.kit.converters import small_onnx

RANDOM = np.random.default_rng(3)
FLOAT = TensorProto.FLOAT


def made(folder, nodes, ends, constants=(), domains=(), opset=17):
    """A file with these nodes; ends are inputs and outputs as (name, type, shape)."""
    inputs, outputs = ([helper.make_tensor_value_info(*end) for end in part] for part in ends)
    tensors = [numpy_helper.from_array(np.asarray(values), name) for name, values in dict(constants).items()]
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=opsets, ir_version=8
    )
    path = folder / "m.onnx"
    onnx.save(model, str(path))
    return path


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def test_half_precision_is_widened(tmp_path):
    from onnx import version_converter

    model = version_converter.convert_version(small_onnx(), 17)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, str(tmp_path / "m.onnx"))
    found = prepare(tmp_path / "m.onnx", tmp_path / "out.onnx", {})
    assert (found.problem, found.unknown) == ("", "")
    assert "float16 taken as float32" in found.changes


def scikit_learn(folder, *, last="Identity"):
    """As skl2onnx writes a logistic regression: scaler, scores, a label, probabilities as a list of maps."""
    classifier = helper.make_node(
        "LinearClassifier", ["s"], ["label", "p"], domain="ai.onnx.ml",
        coefficients=weights(12).tolist(), intercepts=[0.1, -0.2, 0.3], classlabels_ints=[0, 1, 2],
        multi_class=1, post_transform="SOFTMAX",
    )  # fmt: skip
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0, 2, 3, 4], scale=[0.5, 1, 2, 1]),
        classifier,
        helper.make_node("Normalizer", ["p"], ["n"], domain="ai.onnx.ml", norm="L1"),
        helper.make_node("ZipMap", ["n"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
        helper.make_node("Cast", ["label"], ["output_label"], to=TensorProto.INT64),
    ]
    ends = [("x", FLOAT, (None, 4))], [("output_label", TensorProto.INT64, (None,)), ("probabilities", FLOAT, None)]
    return made(folder, nodes, ends, domains=["ai.onnx.ml"])


def test_a_label_beside_the_probabilities_is_left_out(tmp_path):
    """Two outputs, one of them int64 and one a list of maps: refused as a model without fixed shapes."""
    loaded = load_source(scikit_learn(tmp_path))
    assert len(loaded.graph.output_specs()) == 1
    assert any(change.startswith("output output_label dropped") for change in loaded.changes)
    x = weights(1, 4)
    (got,) = Session(loaded.data).run([x])
    assert got.shape == (1, 3)
    assert got.sum() == pytest.approx(1, abs=1e-5)


def test_trees_are_no_network(tmp_path):
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml")
    ends = [("x", FLOAT, (1, 4))], [("label", TensorProto.INT64, (1,)), ("p", FLOAT, (1, 2))]
    found = prepare(made(tmp_path, [node], ends, domains=["ai.onnx.ml"]), tmp_path / "out.onnx", {})
    assert "of ai.onnx.ml (TreeEnsembleClassifier), which are of classical machine learning" in found.problem


def test_operators_of_others_are_named(tmp_path):
    node = helper.make_node("Wobble", ["x"], ["y"], domain="my.company")
    path = made(tmp_path, [node], ([("x", FLOAT, (1, 4))], [("y", FLOAT, (1, 4))]), domains=["my.company"])
    found = prepare(path, tmp_path / "out.onnx", {})
    assert "has operators of my.company (Wobble), which are of its maker's runtime only" in found.problem


@pytest.mark.parametrize(("kind", "attributes"), [("Gelu", {}), ("FastGelu", {}), ("QuickGelu", {"alpha": 1.702})])
def test_what_onnxruntime_fuses_is_taken_apart(tmp_path, kind, attributes):
    """A file that its optimizer has written was an `invalid model`."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"])]
    nodes.append(helper.make_node(kind, ["m"], ["y"], domain="com.microsoft", **attributes))
    path = made(
        tmp_path, nodes, ([("x", FLOAT, (1, 4))], [("y", FLOAT, (1, 5))]), {"w": weights(4, 5)}, ["com.microsoft"]
    )
    found = prepare(path, tmp_path / "out.onnx", {})
    assert (found.problem, found.unknown, found.lowered) == ("", "", True)


def test_what_only_onnxruntime_knows_is_named(tmp_path):
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")
    path = made(tmp_path, [node], ([("x", FLOAT, (1, 4, 4))], [("y", FLOAT, (1, 4, 4))]), domains=["com.microsoft"])
    with pytest.raises(ModelError, match=r"has operators of com.microsoft \(Inverse\), which are onnxruntime's own"):
        load_source(path)


def branch(name, factor):
    node = helper.make_node("Mul", ["x", f"{name}_k"], [f"{name}_out"])
    out = [helper.make_tensor_value_info(f"{name}_out", FLOAT, (1, 4))]
    return helper.make_graph([node], name, [], out, [numpy_helper.from_array(np.float32(factor), f"{name}_k")])


@pytest.mark.parametrize(("taken", "factor"), [(True, 3.0), (False, 5.0)])
def test_a_branch_that_is_known_is_taken(tmp_path, taken, factor):
    """Exporters leave `If` behind where a setting decides."""
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("then", 3.0), else_branch=branch("else", 5.0))
    path = made(tmp_path, [node], ([("x", FLOAT, (1, 4))], [("y", FLOAT, (1, 4))]), {"c": np.array(taken)})
    x = weights(1, 4)
    np.testing.assert_allclose(Session(load_source(path).data).run([x])[0], x * factor, rtol=1e-6)


def test_a_branch_that_an_input_decides_is_named(tmp_path):
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("then", 3.0), else_branch=branch("else", 5.0)),
    ]
    path = made(tmp_path, nodes, ([("x", FLOAT, (1, 4))], [("y", FLOAT, (1, 4))]))
    with pytest.raises(ModelError, match="has If, whose condition depends on an input"):
        load_source(path)


def test_a_detector_ends_before_its_own_suppression(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "wb"], ["b"]),
        helper.make_node("MatMul", ["x", "ws"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["b", "t", "most"], ["chosen"]),
    ]
    constants = {"wb": weights(8, 4), "ws": weights(8, 3), "most": np.array([10], np.int64)}
    path = made(tmp_path, nodes, ([("x", FLOAT, (1, 20, 8))], [("chosen", TensorProto.INT64, (None, 3))]), constants)
    loaded = load_source(path)
    shapes = {spec.name: spec.shape for spec in loaded.graph.output_specs()}
    assert shapes == {"boxes": (1, 20, 4), "scores": (1, 20, 3)}
    assert any("ends before its non-maximum suppression" in change for change in loaded.changes)
    assert "TRANSPOSE" not in [op.name for op in loaded.graph.ops]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 17, 19, 21, 22, 23])
def test_every_version_of_the_operators_in_use(tmp_path, opset):
    onnx.save(small_onnx(opset=opset), str(tmp_path / "m.onnx"))
    found = prepare(tmp_path / "m.onnx", tmp_path / "out.onnx", {})
    assert (found.problem, found.unknown) == ("", "")


def test_sizes_that_are_computed_are_known_once_the_input_is(tmp_path):
    """PyTorch writes x.view(x.shape[0], -1) with Shape, Gather, Concat in int64."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    constants = {
        "zero": np.array(0, np.int64),
        "axes": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
        "w": weights(12, 2),
    }
    path = made(tmp_path, nodes, ([("x", FLOAT, ("N", 3, 4))], [("y", FLOAT, None)]), constants)
    loaded = load_source(path)
    assert [op.name for op in loaded.graph.ops] == ["RESHAPE", "FULLY_CONNECTED"]


def test_an_input_that_is_a_setting_is_fixed_and_decides_the_branch(tmp_path):
    """silero-vad asks for its sampling rate: a scalar int64 beside the sound, and an `If` on it."""
    nodes = [
        helper.make_node("Equal", ["rate", "k"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("then", 3.0), else_branch=branch("else", 5.0)),
    ]
    ends = [("x", FLOAT, (1, 4)), ("rate", TensorProto.INT64, ())], [("y", FLOAT, (1, 4))]
    path = made(tmp_path, nodes, ends, {"k": np.array(16000, np.int64)})
    with pytest.raises(ModelError, match=r"whose condition depends on an input") as refused:
        load_source(path)
    assert "[source.constants] NAME = VALUE" in refused.value.hint
    loaded = load_source(path, SourcePlan("m.onnx", constants={"rate": 16000}))
    assert [spec.name for spec in loaded.graph.input_specs()] == ["x"]
    x = weights(1, 4)
    np.testing.assert_allclose(Session(loaded.data).run([x])[0], x * 3, rtol=1e-6)
    with pytest.raises(ModelError, match=r"has no input speed \(it has x, rate\); correct \[source.constants\]"):
        load_source(path, SourcePlan("m.onnx", constants={"speed": 1}))


def test_an_input_that_nothing_reads_is_left_out(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [("x", FLOAT, (1, 4)), ("rate", TensorProto.INT64, ())], [("y", FLOAT, (1, 4))]
    loaded = load_source(made(tmp_path, [node], ends))
    assert [spec.name for spec in loaded.graph.input_specs()] == ["x"]
    assert "input rate left out: nothing reads it" in loaded.changes
