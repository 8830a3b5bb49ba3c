"""`skerry model check` and what `skerry model build` says: all problems in one round, commands that run as printed."""

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

from skerry_agent.wire.codec import decode
from skerry_host.build_record import BuildRecord
from skerry_host.builder.sources.converters import VARIABLE
from skerry_host.cli.main import run
from skerry_host.cli.next_step import to_release
from tests.kit.converters import small_onnx

RECIPE = """
schema = 1
name = "small"
task = "classification"
license = "MIT"
[source]
file = "model.onnx"
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
[budget]
min_sqnr_db = 5.0
max_accuracy_drop = 0.2
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An ONNX model with its recipe, 60 samples and labels by the model itself."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    model = small_onnx(opset=17)
    model.graph.node[1].op_type = "Shrink"  # which only onnx2tf may know
    onnx.save(model, str(folder / "model.onnx"))
    pictures = np.random.default_rng(1).normal(size=(60, 8, 8, 3)).cumsum(axis=1).astype(np.float32) / 4
    np.savez(folder / "calibration.npz", inputs=pictures[:20])
    np.savez(folder / "evaluation.npz", inputs=pictures[20:])
    return folder


def checked(capsys, *arguments: str) -> tuple[int, dict]:
    code = run(["model", "check", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_all_problems_of_a_recipe_are_found_in_one_round(make_recipe, capsys):
    """A newcomer's first model took eight builds for seven refusals."""
    folder = make_recipe(
        ('io = "int8"', 'io = "int4"'),
        ("max_bytes", "max_byts"),
        files={"evaluation.npz": None, "fashion-1.1.0.tflite": b"\x1c\x00\x00\x00TFL3" + b"\xff" * 400},
    )
    code, facts = checked(capsys, str(folder), "--board", "raspberry-pi-44")
    assert code == 1
    said = [part["message"] for part in facts["problems"]]
    for words in ("no board", "'int4' is none of", "max_byts: unknown key", "evaluation.npz: file not found"):
        assert sum(words in line for line in said) == 1, (words, said)
    assert any("fashion-1.1.0.tflite" in line for line in said)
    assert facts["error"]["code"] == "problems"


def test_a_recipe_that_can_be_built_has_none_and_says_what_would_be_built(small: Path, capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    code, facts = checked(capsys, str(small))
    assert (code, facts["problems"], facts["targets"]) == (0, [], ["onnx"])
    assert "has Shrink, which is not known here" in facts["not_built"]["cpu"]


def test_the_onnx_target_needs_no_converters(small: Path, monkeypatch, tmp_path: Path):
    """`--target onnx` asked for 2.6 GB of converters that it does not use."""
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    out = tmp_path / "out"
    assert run(["model", "build", str(small), "--board", "generic-x86", "--target", "onnx", "--out", str(out)]) == 0
    assert (out / "onnx-model.onnx").is_file()


def test_a_converter_that_fails_does_not_stop_the_other_target(small: Path, capsys, monkeypatch, tmp_path: Path):
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    out, home = tmp_path / "out", tmp_path / "home"
    arguments = ["model", "build", str(small), "--board", "generic-x86", "--out", str(out), "--json"]
    asked = ["--target", "cpu", "--target", "onnx"]
    assert run(["--home", str(home), *arguments, *asked]) == 1  # a script that wanted both must not go on
    record = json.loads(capsys.readouterr().out)
    assert [bundle["target"] for bundle in record["bundles"]] == ["onnx"]
    assert "has Shrink, which is not known here" in record["lost"]["cpu"]
    assert record["error"]["code"] == "target"
    assert (out / "onnx-model.onnx").is_file()


def test_what_is_printed_as_the_next_command_runs(small: Path, capsys, monkeypatch, tmp_path: Path):
    """A build without a version was followed by a command that refused for want of one."""
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    home, out = tmp_path / "a home", tmp_path / "a build"
    build = ["--home", str(home), "model", "build", str(small), "--board", "generic-x86", "--out", str(out)]
    assert run(build) == 0
    printed = capsys.readouterr().out.rpartition("next: ")[2].strip()
    commands = [shlex.split(part) for part in printed.split(" && ")]
    assert [command[0] for command in commands] == ["skerry", "skerry"]
    assert [run(command[1:]) for command in commands] == [0, 0]
    assert "release small@1.0.0 is in the store" in capsys.readouterr().out
    monkeypatch.setenv("SKERRY_HOME", str(home))
    record = decode((out / "build.json").read_bytes(), BuildRecord)
    assert to_release(out, record) == f"skerry release create '{out}' --version 1.1.0"
