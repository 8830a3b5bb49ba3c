"""The conversion check: a conversion that changes what a model computes is refused, or accuracy would suffer unseen."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.converted import Converted
from skerry_host.builder.sources.converters import VARIABLE
from skerry_host.builder.sources.equivalence import Example, equivalence_db, examples, order_of_outputs
from skerry_host.builder.sources.load import from_converted, load_source
from tests.kit.converters import UNKNOWN, small_onnx
from tests.kit.edgetpu.models import Maker
from tests.kit.recipes import FASHION


def moved(scale: float) -> bytes:
    """The small network with its weights changed."""
    model = small_onnx()
    weights = numpy_helper.to_array(model.graph.initializer[0])
    changed = numpy_helper.from_array((weights * scale).astype(np.float32), "w@0")
    model.graph.initializer[0].CopyFrom(changed)
    return model.SerializeToString()


def channels_last() -> bytes:
    """The same network in NHWC: what a converter makes of it."""
    model = small_onnx()
    model.graph.node.insert(0, helper.make_node("Transpose", ["pixels"], ["x:0"], perm=[0, 3, 1, 2]))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, (1, 8, 8, 3)))
    return model.SerializeToString()


def test_the_same_function_is_recognised_whatever_the_order_of_axes():
    same = small_onnx().SerializeToString()
    assert equivalence_db(examples(same), same) == 200
    assert equivalence_db(examples(same), channels_last()) > 100


def test_another_function_is_not():
    same = small_onnx().SerializeToString()
    assert equivalence_db(examples(same), moved(1.01)) > 30
    assert equivalence_db(examples(same), moved(1.3)) < 20


def test_what_tells_nothing_is_said(tmp_path: Path):
    assert equivalence_db(examples(moved(0.0)), moved(0.0)) is not None  # the bias is left
    assert equivalence_db(examples(moved(np.nan)), small_onnx().SerializeToString()) is None


def test_silence_is_not_measured_to_the_last_digit():
    """The text detector answers 1e-6 where there is no text: rounding alone is a tenth of that."""
    quiet = [Example([np.zeros((1, 3, 8, 8), np.float32)], [np.full((1, 4), 1e-6, np.float32)])]
    assert equivalence_db(quiet, moved(0.0)) < 30  # a bias is no silence

    model = onnx.load_from_string(moved(0.0))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(np.full(4, 1.1e-6, np.float32), "b"))
    assert equivalence_db(quiet, model.SerializeToString()) > 60


STAND_IN = """#!/bin/sh
# A stand-in for a Python with onnx2tf: it converts every model to the same wrong one
mkdir made && cp {model} made/model_plain_float32.tflite
"""


def test_a_wrong_conversion_is_one_line(tmp_path: Path, monkeypatch):
    """onnx2tf #683: a model that is worthless after conversion, and nobody says so."""
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(model=FASHION / "fashion-1.0.0.tflite"))
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(python))
    weights = np.random.default_rng(1).normal(size=(10, 784)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["g"], transB=1)]
    nodes.append(helper.make_node(UNKNOWN, ["g"], ["y"]))
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, (1, 1, 28, 28)), ("y", 1, (1, 10)))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(
        ModelError, match=r"m\.onnx was not converted correctly: its TFLite form has -?\d+ dB SQNR against it"
    ) as found:
        load_source(tmp_path / "m.onnx")
    assert found.value.code == "conversion"
    assert "\n" not in str(found.value)


def heads(*order: int) -> bytes:
    """Two outputs of one size, x + 1 and x * 1, in this order."""
    made = Maker()
    made.tensor("x", (1, 3), "float32")
    made.tensor("c", (1, 3), "float32", np.ones((1, 3)))
    for name, op, options in (("sum", "ADD", schema.AddOptionsT()), ("same", "MUL", schema.MulOptionsT())):
        made.tensor(name, (1, 3), "float32")
        made.op(op, ["x", "c"], [name], options=options)
    return made.data(["x"], [("sum", "same")[place] for place in order])


def test_outputs_that_have_changed_places_are_another_function():
    """The output that is closest hid it: a box was judged as the classifier's scores."""
    assert equivalence_db(examples(heads(0, 1)), heads(0, 1)) > 100
    assert equivalence_db(examples(heads(0, 1)), heads(1, 0)) < 10


def test_of_a_converter_that_says_nothing_of_their_order_outputs_are_found_by_what_they_are():
    (example, *_others) = examples(heads(0, 1), exact=False)
    assert order_of_outputs(example, heads(1, 0)) == [1, 0]
    assert order_of_outputs(example, heads(0, 1)) == [0, 1]
    assert order_of_outputs(example, heads(0)) is None


def test_they_are_put_into_the_order_of_the_source(tmp_path: Path):
    (tmp_path / "m.onnx").write_bytes(b"the source")
    (tmp_path / "made.tflite").write_bytes(heads(1, 0))
    known = examples(heads(0, 1), exact=False)
    source = from_converted(tmp_path / "m.onnx", Converted(tmp_path / "made.tflite", examples=tuple(known)))
    assert [spec.name for spec in source.graph.output_specs()] == ["sum", "same"]
    assert equivalence_db(examples(heads(0, 1)), source.data) > 100
