"""`skerry model evaluate` takes what a build takes, and tells values in their unit."""

import json
from pathlib import Path

import numpy as np
import pytest

from skerry_host.builder.check import check_model
from skerry_host.cli.main import run
from skerry_host.metric_words import in_its_unit
from tests.kit.converters import needs_tensorflow
from tests.kit.float_graphs import FloatMaker

DIGITS = Path(__file__).resolve().parents[3] / "models/digits"
RANDOM = np.random.default_rng(4)


@pytest.fixture
def upscaling(tmp_path: Path) -> Path:
    """A recipe of a regression whose only operator is MediaPipe's custom one."""
    m = FloatMaker()
    m.real("x", (1, 3, 3, 3))
    m.real("y", (1, 6, 6, 2))
    weights, bias = RANDOM.normal(0, 1, (2, 2, 2, 3)).astype(np.float32), np.array([1.0, -2.0], np.float32)
    options = np.array([1, 2, 2], "<i4").tobytes()
    m.op("Convolution2DTransposeBias", ["x", m.constant("w", weights), m.constant("b", bias)], ["y"], custom=options)
    (tmp_path / "model.tflite").write_bytes(m.data(["x"], ["y"]))
    for name, count in (("calibration", 30), ("evaluation", 20)):
        inputs = RANDOM.random((count, 3, 3, 3)).astype(np.float32)
        exact = np.einsum("nhwc,oijc->nhiwjo", inputs, weights).reshape(count, 6, 6, 2) + bias
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, targets=exact + 0.5)
    (tmp_path / "recipe.toml").write_text(
        'schema = 1\nname = "up"\ntask = "regression"\nlicense = "none"\nsource = { file = "model.tflite" }\n'
        'postprocess = { unit = "mm" }\n'
        'data = { calibration = "calibration.npz", evaluation = "evaluation.npz" }\n'
    )
    return tmp_path


def test_a_file_with_custom_operators_that_can_be_rewritten_is_evaluated_and_its_error_is_no_percentage(
    upscaling: Path, capsys
):
    command = ["model", "evaluate", str(upscaling / "model.tflite"), str(upscaling)]
    assert run(command) == 0
    assert "MAE 0.5 mm (95 % interval 0.5 mm to 0.5 mm) on 20 samples" in capsys.readouterr().out
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["better"], told["unit"]) == ("lower", "mm")
    assert told["figures"]["RMSE"] == pytest.approx(0.5, abs=1e-4)


def test_an_evaluation_says_what_it_is_doing(upscaling: Path):
    steps: list[str] = []
    check_model(upscaling / "model.tflite", upscaling, lambda step, *_of: steps.append(step))
    assert list(dict.fromkeys(steps)) == ["checking the model", "evaluating 20 samples"]


@needs_tensorflow
def test_a_keras_file_is_evaluated(capsys):
    assert run(["model", "evaluate", str(DIGITS / "digits.keras"), str(DIGITS), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] > 0.9


def test_a_share_is_told_in_percent_and_anything_else_in_its_unit():
    assert (in_its_unit(0.91254, ""), in_its_unit(3.14159, "pixels")) == ("91.25%", "3.142 pixels")
