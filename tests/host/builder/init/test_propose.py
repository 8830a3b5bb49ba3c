"""A recipe for somebody's model and data: it builds as it was written, and what was found by trying is right."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.init.propose import InitRequest, propose
from skerry_host.builder.recipe.errors import ModelError, OutputError, RecipeError
from skerry_host.builder.recipe.recipe import load_recipe
from skerry_host.builder.runtime.probe import check_head
from skerry_host.cli.main import run
from tests.kit.datasets import sound
from tests.kit.linear_models import linear_model
from tests.kit.recipes import NOW

RANDOM = np.random.default_rng(11)
SIDE = 6
KINDS = ("blue", "green", "red")


def colours(root, count=60):
    """Images in folders, of one colour that is brighter than the others."""
    for kind, plane in zip(KINDS, (2, 1, 0), strict=True):
        (root / kind).mkdir(parents=True)
        for at in range(count):
            pixels = RANDOM.integers(0, 120, (SIDE, SIDE, 3))
            pixels[..., plane] += RANDOM.integers(60, 130)
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"{at}.png")
    return root


def colour_model(order=(2, 1, 0), low=0.0, high=1.0) -> bytes:
    """Answers which colour is the brightest, of values in low..high only; `order`: the plane of each output."""
    weights = np.zeros((3, SIDE, SIDE, 3))
    for output, plane in enumerate(order):
        weights[output, ..., plane] = 20 / (high - low)
    bias = -weights.reshape(3, -1).sum(axis=1) * (low + 0.5 * (high - low)) + np.array([0, 150, -150])
    tilted = weights.copy()  # a bias that only values of the right range balance
    tilted[1] -= 150 / (0.4 * SIDE * SIDE * 3 * (high - low))
    tilted[2] += 150 / (0.4 * SIDE * SIDE * 3 * (high - low))
    bias = bias + tilted.reshape(3, -1).sum(axis=1) * -low + weights.reshape(3, -1).sum(axis=1) * low
    return linear_model(tilted.reshape(3, -1), bias, (1, SIDE, SIDE, 3), softmax=True)


def proposed(tmp_path, model: bytes, data, **request):
    (tmp_path / "colours.tflite").write_bytes(model)
    return propose(InitRequest(tmp_path / "colours.tflite", data, out=tmp_path / "made", **request))


def test_a_recipe_of_images_and_a_model_builds_as_it_was_written(tmp_path):
    made = proposed(tmp_path, colour_model(), colours(tmp_path / "data"))
    recipe = load_recipe(made.folder).recipe
    assert (recipe.task, recipe.labels.names) == ("classification", KINDS)
    assert recipe.preprocess.scale == pytest.approx(1 / 255)
    done = build(BuildRequest(made.folder, "generic-x86", NOW, "1.0.0", tmp_path / "built", ("cpu",)))
    assert done.record.quality.metric == "top1"
    assert done.record.quality.int8_value > 0.9
    assert any(note.startswith("split of data") for note in done.record.remarks)
    assert set(done.record.provenance.data_sha256) == {"calibration", "evaluation"}


def test_the_order_of_the_outputs_is_found_by_the_models_answers(tmp_path):
    made = proposed(tmp_path, colour_model(order=(0, 2, 1)), colours(tmp_path / "data"))
    assert load_recipe(made.folder).recipe.labels.names == ("red", "blue", "green")
    assert "guess: the order in which the float model answers" in made.text


def test_what_cannot_be_tried_is_asked(tmp_path):
    root = colours(tmp_path / "data", 20)
    for at, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(root / f"{at}.png")
    for kind in KINDS:
        (root / kind).rmdir()
    made = proposed(tmp_path, colour_model(), root)
    assert load_recipe(made.folder).recipe.task == "raw"
    assert any("what do the outputs mean" in ask for ask in made.questions)
    assert any("how were values scaled in training" in ask for ask in made.questions)


def test_a_table_and_a_regression_model_build_as_they_are(tmp_path):
    values = RANDOM.normal(0, 1, (200, 3)).round(3)
    right = values @ [1.0, -2.0, 0.5] + 0.25 + RANDOM.normal(0, 3, 200)  # as measurements are
    lines = [f"{a},{b},{c},{y:.4f}" for (a, b, c), y in zip(values, right, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,y", *lines]), "utf-8")
    made = proposed(tmp_path, linear_model([[1.0, -2.0, 0.5]], [0.25], (1, 3)), tmp_path / "t.csv")
    recipe = load_recipe(made.folder).recipe
    assert recipe.task == "regression"
    assert recipe.preprocess.scale == 1.0
    done = build(BuildRequest(made.folder, "generic-x86", NOW, "1.0.0", tmp_path / "built", ("cpu",)))
    assert done.record.quality.better == "lower"


def test_a_folder_of_sounds_gets_values_as_models_of_sound_take_them(tmp_path):
    for at in range(40):
        level = 0.3 if at % 2 else -0.3
        sound(tmp_path / "data" / ("up" if at % 2 else "down") / f"{at}.wav", level + RANDOM.normal(0, 0.1, 90))
    model = linear_model(np.stack([-np.ones(100), np.ones(100)]), [0.0, 0.0], (1, 100))
    made = proposed(tmp_path, model, tmp_path / "data")
    recipe = load_recipe(made.folder).recipe
    assert recipe.labels.names == ("down", "up")
    assert recipe.preprocess.scale == pytest.approx(1 / 32768)
    assert any("shorter than the model's input" in note for note in made.notes)


def test_a_recipe_is_never_written_over(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "recipe.toml").write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="is there already"):
        proposed(tmp_path, colour_model(), colours(tmp_path / "data", 5))
    assert (tmp_path / "made" / "recipe.toml").read_text("utf-8") == "mine"


def test_data_that_do_not_fit_leave_nothing_behind(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n", "utf-8")
    with pytest.raises(RecipeError):
        proposed(tmp_path, colour_model(), tmp_path / "t.csv")
    assert not (tmp_path / "made").exists()


def test_an_unknown_task_is_named_as_the_option_that_it_is_before_anything_is_read(tmp_path):
    with pytest.raises(RecipeError) as refused:
        propose(InitRequest(tmp_path / "none.tflite", tmp_path / "none", "klassification", tmp_path / "made"))
    assert str(refused.value).startswith("--task: 'klassification' is none of classification, multilabel")
    assert "did you mean classification?" in str(refused.value)


def test_a_file_that_is_no_model_is_told_what_models_are(tmp_path):
    (tmp_path / "colours.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ModelError) as refused:
        check_head(tmp_path / "colours.csv")
    assert ".onnx" in (refused.value.hint or "")


def test_the_command_says_what_comes_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colours.tflite").write_bytes(colour_model())
    data = str(colours(tmp_path / "data", 20))
    assert run(["model", "init", "colours.tflite", "--data", data, "--out", "my colours"]) == 0
    said = capsys.readouterr().out
    assert "wrote my colours" in said
    command = shlex.split(said.rpartition("next: ")[2])  # as a shell takes it, whatever the folder is called
    assert command == ["skerry", "model", "build", "my colours", "--board", "raspberry-pi-4", "--version", "1.0.0"]
    assert run(["model", "init", "colours.tflite", "--data", data, "--out", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == ["which license have the model and its data?"]
