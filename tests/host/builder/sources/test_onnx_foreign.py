"""ONNX files with operators of other makers, and with outputs that are no numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from skerry_host.builder.sources.onnx_child import prepare
from skerry_host.builder.sources.onnx_foreign import drop_labels, foreign, own_words


def of_scikit_learn():
    """What skl2onnx writes for an MLPClassifier: the label by ArgMax and a table, the scores as a list of maps."""
    weights = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    classes = numpy_helper.from_array(np.arange(3), "classes")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"]),
        helper.make_node("ArgMax", ["shares"], ["best"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["classes", "best"], ["label"], domain="ai.onnx.ml"),
        helper.make_node("ZipMap", ["shares"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weights, classes])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_the_label_and_the_map_of_scikit_learn_are_dropped_with_a_note():
    graph = of_scikit_learn().graph
    assert drop_labels(graph) == ["output label dropped: no real numbers; shares stays"]
    assert [value.name for value in graph.output] == ["shares"]
    assert [node.op_type for node in graph.node] == ["MatMul", "Softmax"]
    assert foreign(graph) is None


def test_a_file_of_scikit_learn_is_prepared(tmp_path):
    source = tmp_path / "source.onnx"
    onnx.save(of_scikit_learn(), str(source))
    found = prepare(source, tmp_path / "out.onnx", {})
    assert found.problem == ""
    assert found.changes[0].startswith("output label dropped")


def test_a_model_of_numbers_only_keeps_all_of_its_outputs():
    graph = of_scikit_learn().graph
    drop_labels(graph)
    assert drop_labels(graph) == []
    only_label = of_scikit_learn().graph
    del only_label.output[1:]
    assert drop_labels(only_label) == []


@pytest.mark.parametrize(
    ("domain", "operator", "words"),
    [
        ("com.microsoft", "FusedMatMul", ["(FusedMatMul)", "onnxruntime's own", "before onnxruntime optimized it"]),
        ("ai.onnx.ml", "TreeEnsembleClassifier", ["classical machine learning", "give a neural network"]),
        ("org.maker", "Magic", ["operators of org.maker (Magic)", "standard operators"]),
    ],
)
def test_operators_of_others_are_named_as_that(tmp_path, domain, operator, words):
    """`com.microsoft` was called an invalid model."""
    model = of_scikit_learn()
    drop_labels(model.graph)
    model.graph.node[0].op_type, model.graph.node[0].domain = operator, domain
    model.opset_import.append(helper.make_opsetid(domain, 1))
    onnx.save(model, str(tmp_path / "source.onnx"))
    found = prepare(tmp_path / "source.onnx", tmp_path / "out.onnx", {})
    for word in words:
        assert word in f"{found.problem}; {found.hint}"


def test_an_operator_inside_of_a_branch_is_found():
    inner = helper.make_graph([helper.make_node("Magic", ["x"], ["y"], domain="org.maker")], "b", [], [])
    outer = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "g", [], [])
    assert "org.maker" in foreign(outer)[0]


def test_operators_of_a_later_version_are_named_as_that(tmp_path):
    model = of_scikit_learn()
    drop_labels(model.graph)
    model.opset_import[0].version = 99
    onnx.save(model, str(tmp_path / "source.onnx"))
    assert "operators of version 99" in prepare(tmp_path / "source.onnx", tmp_path / "out.onnx", {}).problem


def test_an_error_of_onnxruntime_is_told_without_its_sources():
    place = (
        "/onnxruntime_src/core/graph/model_load_utils.h:46 void onnxruntime::Validate(const std::map<int, int>&, int) "
    )
    error = ValueError(f"[ONNXRuntimeError] : 1 : FAIL : {place}Opset 99 is under development")
    assert own_words(error) == "Opset 99 is under development"
