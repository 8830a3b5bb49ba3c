"""Delta-friendly quantization: smaller patches where it costs no accuracy, not used where it does."""

import pytest

from skerry_host.builder.build import BuildRequest, build
from skerry_host.cli.previous import Previous, previous_release
from tests.kit.patch_models import patch_of
from tests.kit.recipes import NOW

COARSE = ("per_channel = true", 'per_channel = true\ncalibrator = "moving-average"')
"""Ranges that clip: such a model loses more by what is done to its integers."""


def rebuilt(folder, tmp_path, previous, name):
    made = build(BuildRequest(folder, "generic-x86", NOW, "1.1.0", tmp_path / name, previous=previous))
    return (made.path / "model.tflite").read_bytes(), made.record


def test_a_release_kept_near_travels_in_fewer_bytes(built, recipe, tmp_path):
    old = (built.path / "model.tflite").read_bytes()
    plain, plain_record = rebuilt(recipe, tmp_path, None, "plain")
    kept, record = rebuilt(recipe, tmp_path, old, "kept")
    assert len(patch_of(old, kept).data) < len(patch_of(old, plain).data)
    assert plain_record.remarks == ()
    assert "on the previous release's grid" in record.remarks[0]
    assert record.quality.int8_value >= plain_record.quality.int8_value - 2 / 300


def test_what_costs_accuracy_is_not_used(make_recipe, tmp_path):
    before = build(BuildRequest(make_recipe(COARSE), "raspberry-pi-4", NOW, "1.0.0", tmp_path / "before"))
    old = (before.path / "model.tflite").read_bytes()
    folder = make_recipe(COARSE, ('calibrator = "', 'sticky = 2.0\ncalibrator = "'), ("drop = 0.01", "drop = 0.003"))
    model, record = rebuilt(folder, tmp_path, old, "sticky")
    assert "not used, it costs" in record.remarks[0]
    plain, _ = rebuilt(folder, tmp_path, None, "plain")
    assert model == plain


def test_a_recipe_can_refuse_it(built, make_recipe, tmp_path):
    old = (built.path / "model.tflite").read_bytes()
    folder = make_recipe(("per_channel = true", "per_channel = true\ndelta_friendly = false"))
    _, record = rebuilt(folder, tmp_path, old, "never")
    assert record.remarks == ()


@pytest.mark.parametrize("named", [None, "fashion@9.9.9"])
def test_without_a_previous_release(recipe, tmp_path, monkeypatch, named):
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "home"))
    if named is None:
        assert previous_release(recipe, None) == Previous()
        assert not (tmp_path / "home").exists()
    else:
        with pytest.raises(Exception, match=r"there is no release fashion@9\.9\.9"):
            previous_release(recipe, named)
