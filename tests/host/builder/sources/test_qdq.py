"""An ONNX model that is int8 already (QDQ, as onnxruntime and QAT exporters write it) is taken as it is."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import load_source
from skerry_host.cli.main import run
from tests.kit.converters import small_onnx
from tests.kit.recipes import NOW

RECIPE = """
schema = 1
name = "qdq"
task = "classification"
license = "MIT"
[source]
file = "model.onnx"
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
min_calibration_samples = 2
[budget]
allow_chance = true
"""


def rounded(graph, name: str, scale: float) -> None:
    """What reads `name` reads it behind a pair, as exporters of fake-quantized models write it."""
    for node in graph.node:
        node.input[:] = [f"{name}_dq" if value == name else value for value in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}_s"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), f"{name}_z"))
    ends = [f"{name}_s", f"{name}_z"]
    graph.node.append(helper.make_node("QuantizeLinear", [name, *ends], [f"{name}_q"]))
    graph.node.append(helper.make_node("DequantizeLinear", [f"{name}_q", *ends], [f"{name}_dq"]))


def qdq(shape=(1, 3, 8, 8), opset: int = 17):
    """The small network with input, weights and activations rounded; weights stay float before their pair."""
    model = small_onnx(shape, opset=opset)
    graph = model.graph
    for name, scale in (("x:0", 0.02), ("w@0", 0.03), ("r", 0.05)):
        rounded(graph, name, scale)
    order = ["x:0_q", "x:0_dq", "w@0_q", "w@0_dq", "c", "r", "r_q", "r_dq", "g", "y@1"]
    nodes = sorted(graph.node, key=lambda node: order.index(node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)
    return model


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    onnx.save(qdq(), str(folder / "model.onnx"))
    pictures = np.random.default_rng(1).normal(size=(60, 8, 8, 3)).cumsum(axis=1).astype(np.float32) / 4
    labels = np.arange(60) % 4
    np.savez(folder / "calibration.npz", inputs=pictures[:20], labels=labels[:20])
    np.savez(folder / "evaluation.npz", inputs=pictures[20:], labels=labels[20:])
    return folder


def test_it_is_taken_byte_for_byte(recipe: Path):
    source = load_source(recipe / "model.onnx")
    assert source.data == (recipe / "model.onnx").read_bytes()
    assert (source.quantized, source.is_tflite) == (True, False)
    assert source.changes == ("int8 ONNX (QDQ), for the onnx target only",)


def test_it_is_evaluated_and_gets_golden_outputs(recipe: Path, tmp_path: Path):
    made = build(BuildRequest(recipe, "generic-x86", NOW, out=tmp_path / "b"))
    (bundle,) = made.record.bundles
    assert (bundle.target, bundle.preprocess.layout) == ("onnx", "nchw")
    assert (made.path / bundle.model.name).read_bytes() == (recipe / "model.onnx").read_bytes()
    assert "cpu" in made.record.not_built
    assert "4 operators, int8" in made.report  # without the rounding between them
    assert {check.name for check in made.record.checks} >= {"int8 in compute operators", "golden outputs"}
    assert any("no float model to compare" in line for line in made.record.remarks)


@pytest.mark.parametrize(("labelled", "metric"), [(True, "top1"), (False, "agreement")])
def test_it_can_be_evaluated(recipe: Path, capsys, labelled: bool, metric: str):
    if not labelled:
        arrays = np.load(recipe / "evaluation.npz")
        np.savez(recipe / "evaluation.npz", inputs=arrays["inputs"])
    assert run(["model", "evaluate", str(recipe / "model.onnx"), str(recipe), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert (score["metric"], score["samples"]) == (metric, 40)
    assert labelled or score["value"] == 1.0


def test_another_target_is_refused(recipe: Path, tmp_path: Path, capsys):
    command = ["model", "build", str(recipe), "--board", "generic-x86", "--target", "cpu", "--out", str(tmp_path / "b")]
    assert run(command) == 2
    error = capsys.readouterr().err
    assert "no cpu target: an already quantized ONNX model cannot be converted to TFLite without loss" in error
    assert "give the float ONNX model" in error


def test_what_is_left_in_float_is_named(recipe: Path, tmp_path: Path):
    model = qdq()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.input[0] = "x:0"
    onnx.save(model, str(recipe / "model.onnx"))
    with pytest.raises(Exception, match=r"not int8: Conv \(c\)"):
        build(BuildRequest(recipe, "generic-x86", NOW, out=tmp_path / "b"))


def test_an_open_batch_is_fixed(tmp_path: Path):
    onnx.save(qdq(("N", 3, 8, 8)), str(tmp_path / "m.onnx"))
    source = load_source(tmp_path / "m.onnx")
    assert source.changes[0] == "input x:0 fixed to 1x3x8x8"
    assert Session(source.data).run([np.zeros((1, 3, 8, 8), np.float32)])[0].shape == (1, 4)


def test_one_of_an_older_opset_that_runs_is_taken(tmp_path: Path):
    """onnxruntime's quantizer keeps the opset of the float model, and pairs by tensor are right from 10 on."""
    onnx.save(qdq(opset=11), str(tmp_path / "m.onnx"))
    assert Session(load_source(tmp_path / "m.onnx").data).run([np.zeros((1, 3, 8, 8), np.float32)])[0].shape == (1, 4)


def test_one_that_does_not_run_is_one_line(tmp_path: Path):
    model = qdq()
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="does not run") as refused:
        load_source(tmp_path / "m.onnx")
    assert "\n" not in str(refused.value)
