"""The whole build on the real fashion model."""

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from skerry_agent.processing import Feeding, constant, load_golden
from skerry_agent.wire import codec
from skerry_host.boards import BoardError
from skerry_host.build_record import BuildRecord
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.diagnose.activations import activations_of
from skerry_host.builder.diagnose.advice import Tried, explain
from skerry_host.builder.diagnose.layers import layers
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.recipe.errors import BuildRefused, ModelError, OutputError
from skerry_host.builder.runtime.session import Session
from skerry_host.cli.main import run
from tests.kit.recipes import FASHION, NOW, REAL, needs_real


def test_a_build_is_proven_and_complete(built: Build):
    record = codec.decode((built.path / "build.json").read_bytes(), BuildRecord)
    assert record == built.record
    assert all(check.ok for check in record.checks)
    (bundle,) = record.bundles
    for artifact in bundle.artifacts:
        data = (built.path / artifact.name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.blob.sha256, artifact.blob.size)
    names = {"build.json", "report.html", *(artifact.name for artifact in bundle.artifacts)}
    assert {path.name for path in built.path.iterdir()} == names
    assert record.quality.int8_value >= record.quality.float_value - 0.01
    assert (
        record.provenance.source_sha256 == hashlib.sha256((FASHION / "fashion-1.0.0.tflite").read_bytes()).hexdigest()
    )
    assert record.provenance.data_sha256.keys() == {"calibration", "evaluation"}
    assert record.provenance.built_at == "2026-01-02T03:04:05+00:00"
    assert (record.version, record.board, record.not_built) == ("1.0.0", "raspberry-pi-4", ("onnx",))


def test_the_model_is_int8_throughout_with_the_versions_that_int8_needs(built: Build):
    """Trap 9 (versions that int8 needs) and trap 10 (inputs and outputs are int8, too)."""
    session = Session((built.path / "model.tflite").read_bytes())
    assert not session.graph.float_ops()
    assert (session.inputs[0].dtype, session.outputs[0].dtype) == ("int8", "int8")
    versions = {op.name: op.version for op in session.graph.ops}
    assert versions == {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "MEAN": 2, "SOFTMAX": 2}


def test_dense_weights_have_one_scale_and_convolutions_one_per_channel(built: Build):
    graph = Session((built.path / "model.tflite").read_bytes()).graph
    scales = {
        op.name: graph.tensors[op.inputs[1]].channels for op in graph.ops if op.name in {"CONV_2D", "FULLY_CONNECTED"}
    }
    assert scales["FULLY_CONNECTED"] == 1
    assert scales["CONV_2D"] > 1


def test_golden_outputs_are_what_another_session_answers(built: Build):
    golden = load_golden((built.path / "golden.npz").read_bytes())
    session = Session((built.path / "model.tflite").read_bytes())
    assert len(golden) == 16
    assert constant(golden.outputs) is None
    for i in range(len(golden)):
        assert np.array_equal(session.run(golden.sample(i, session.inputs))[0][0], golden.outputs[0][i])


def test_the_same_recipe_gives_the_same_artifacts(built: Build, recipe: Path, tmp_path: Path):
    again = build(BuildRequest(recipe, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "again"))
    one, other = (msgspec.structs.replace(b.record, speeds_on_this_machine=()) for b in (again, built))
    assert one == other


@pytest.mark.parametrize("labelled", [True, False])
def test_of_a_quantized_source_nothing_is_said_of_a_float_model(make_recipe, built: Build, tmp_path: Path, labelled):
    model = (built.path / "model.tflite").read_bytes()
    folder = make_recipe(("fashion-{version}.tflite", "int8.tflite"), files={"int8.tflite": model})
    if not labelled:
        arrays = np.load(folder / "evaluation.npz")
        np.savez(folder / "evaluation.npz", inputs=arrays["inputs"])
    made = build(BuildRequest(folder, "raspberry-pi-4", NOW, None, tmp_path / "b"))
    quality = made.record.quality
    assert (quality.float_value, quality.float_interval, quality.float_bytes, quality.sqnr_db) == (None, None, None, {})
    assert "no float model" in made.report
    assert "times smaller" not in made.report
    assert any("have no labels" in line for line in made.record.remarks) != labelled
    assert any(check.name == "int8 top1" for check in made.record.checks) == labelled


def test_a_coral_board_gets_the_cpu_bundle_that_is_its_fallback(recipe: Path, tmp_path: Path):
    made = build(BuildRequest(recipe, "raspberry-pi-4-coral-usb", NOW, "1.0.0", tmp_path / "b"))
    assert [bundle.target for bundle in made.record.bundles] == ["cpu"]
    assert "edgetpu" in made.record.not_built


def test_per_tensor_weights(make_recipe, tmp_path: Path):
    folder = make_recipe(
        ("per_channel = true", "per_channel = false"), ("max_accuracy_drop = 0.01", "max_accuracy_drop = 0.1")
    )
    made = build(BuildRequest(folder, "generic-x86", NOW, "1.0.0", tmp_path / "b"))
    model = read_model((made.path / "model.tflite").read_bytes())
    quantizations = [tensor.quantization for tensor in model.subgraphs[0].tensors]
    assert all(len(q.scale) == 1 for q in quantizations if q is not None and q.scale is not None)


def test_a_refused_build_gives_every_reason_and_writes_nothing(make_recipe, tmp_path: Path):
    folder = make_recipe(("min_accuracy = 0.90", "min_accuracy = 1.0"), ("max_bytes = 262144", "max_bytes = 1000"))
    with pytest.raises(BuildRefused) as refused:
        build(BuildRequest(folder, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "b"))
    assert refused.value.exit_code == 1
    assert len(refused.value.reasons) == 2
    assert list(tmp_path.iterdir()) == []
    (measured,) = refused.value.facts()["targets"]
    assert [check.name for check in measured["checks"] if not check.ok] == ["int8 top1", "size"]
    assert len(measured["layers"]) == 18


def test_a_refusal_is_data_for_a_machine_too(make_recipe, tmp_path: Path, capsys):
    folder = make_recipe(("max_bytes = 262144", "max_bytes = 1000"))
    command = ["model", "build", str(folder), "--board", "raspberry-pi-4", "--out", str(tmp_path / "b"), "--json"]
    assert run(command) == 1
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert (error["code"], len(error["issues"]), error["targets"][0]["target"]) == ("refused", 1, "cpu")
    assert error["targets"][0]["checks"][0].keys() == {"name", "value", "limit", "ok"}
    assert printed.err.startswith("error: build of fashion-1.1.0 refused")
    (folder / "evaluation.npz").unlink()
    assert run(command) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["issues"]) == ("missing_file", ["evaluation.npz: file not found"])


def test_a_build_that_loses_the_signal_names_the_layers(make_recipe, tmp_path: Path):
    """Pain tensorflow#58206, onnx2tf#683: accuracy collapses, and nobody says where."""
    folder = make_recipe(("min_sqnr_db = 15.0", "min_sqnr_db = 100.0"), ("[budget]", "search = false\n[budget]"))
    with pytest.raises(BuildRefused, match=r"lowest SQNR in [A-Z_0-9]+ \S+ \(\d+\.\d dB\)"):
        build(BuildRequest(folder, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "b"))


def test_every_layer_is_compared_with_the_float_model(built: Build, float_model: bytes):
    samples = Samples.of(np.load(FASHION / "evaluation.npz")["inputs"][:4])
    (bundle,) = built.record.bundles
    reference, made = (activations_of(data) for data in (float_model, (built.path / "model.tflite").read_bytes()))
    found = layers(reference, made, samples.inputs, Feeding.of(bundle))
    assert len(found) == 18
    assert min(layer.sqnr_db for layer in found) > 10
    assert "no layer" in explain([], 15, Tried())


def test_a_build_replaces_a_build_but_nothing_else(recipe: Path, tmp_path: Path):
    order = BuildRequest(recipe, "raspberry-pi-4", NOW, "1.0.0", tmp_path / "b")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="is not a build"):
        build(order)
    (tmp_path / "b" / "thesis.txt").unlink()
    build(order)
    build(order)
    assert (tmp_path / "b" / "model.tflite").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_leaves_nothing_behind(recipe: Path, tmp_path: Path):
    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    out = tmp_path / "b"
    command = [sys.executable, "-m", "skerry_host.cli", "model", "build", str(recipe), "--board", "generic-x86"]
    done = subprocess.run(
        [*command, "--out", str(out)], preexec_fn=fill_the_disk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("progress: ")]  # of a slow machine
    assert line.startswith("error: ")
    assert "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


TARGETS = {"edgetpu": "cannot run target edgetpu", "onnx": "needs an ONNX source", "gpu": "cannot run target gpu"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_the_board_or_skerry_lacks(recipe: Path, tmp_path: Path, target: str):
    with pytest.raises((BoardError, ModelError), match=TARGETS[target]):
        build(BuildRequest(recipe, "raspberry-pi-4", NOW, out=tmp_path / "b", targets=[target]))


def test_the_command_prints_a_verdict_or_json(recipe: Path, tmp_path: Path, capsys):
    out = tmp_path / "b"
    assert run(["model", "build", str(recipe), "--board", "raspberry-pi-4", "--out", str(out), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["path"], data["quality"]["metric"], data["version"]) == (str(out), "top1", "1.1.0")
    assert run(["model", "build", str(recipe), "--board", "raspberry-pi-4", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "worst SQNR" in printed
    assert "not built for raspberry-pi-4: onnx" in printed


def test_inspect_and_evaluate(built: Build, recipe: Path, capsys):
    model = str(built.path / "model.tflite")
    assert run(["model", "inspect", model, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["runs"], data["fully_int8"], len(data["ops"])) == (True, True, 18)
    assert run(["model", "evaluate", model, str(recipe), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["value"] == pytest.approx(built.record.quality.int8_value)
    assert run(["model", "inspect", model]) == 0
    assert "runs here" in capsys.readouterr().out


@needs_real
def test_a_model_with_several_inputs_needs_samples_of_each(recipe: Path, capsys):
    assert run(["model", "evaluate", str(REAL / "edgetpu" / "split_concat.tflite"), str(recipe)]) == 2
    assert "calibration.npz: has no array input_input1" in capsys.readouterr().err


ERRORS = {
    "unknown board": (["build", "RECIPE", "--board", "toaster"], "known boards: "),
    "no recipe": (["build", "nowhere", "--board", "generic-x86"], "cannot be read"),
    "no such version": (["build", "RECIPE", "--board", "generic-x86", "--version", "9.9.9"], "fashion-9.9.9.tflite"),
    "not a model": (["inspect", "RECIPE/recipe.toml"], "not a TFLite file"),
    "no model": (["evaluate", "nowhere", "RECIPE"], "No such file"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_users_mistake_is_one_line_and_exit_code_2(recipe: Path, capsys, case: str):
    arguments, expected = ERRORS[case]
    assert run(["model", *(argument.replace("RECIPE", str(recipe)) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert expected in error
