"""Delta-friendly quantization: smaller patches where it costs no accuracy, not used where it does."""

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.judge.paired import PairedEvaluation
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Quantize, load_recipe
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.choose import Chosen, Work
from skerry_host.builder.targets.delta_friendly import PreviousRelease, make_delta_friendly
from skerry_host.builder.targets.table import BUILDERS
from skerry_host.cli.previous import Previous, previous_release
from tests.kit.patch_models import patch_of
from tests.kit.recipes import FASHION, NOW

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


def test_weights_rounded_together_are_not_rounded_one_by_one_again():
    loaded = load_recipe(FASHION)
    source, recipe = load_source(loaded.source), replace(loaded.recipe, quantize=Quantize(rounding="together"))
    files = [np.load(FASHION / f"{name}.npz") for name in ("calibration", "evaluation")]
    samples = [Samples.of(file["inputs"][:24], truth=file["labels"][:24]) for file in files]
    data = DataSet(*samples)
    evaluation = PairedEvaluation(source.data, data.evaluation, recipe)
    work = Work(BUILDERS["cpu"], recipe, source, data, evaluation, silent)
    model = quantize(source, data.calibration, recipe.feeding, recipe.quantize)
    chosen = Chosen(model, recipe.quantize, evaluation.compare(model), (), source.data)
    kept = make_delta_friendly(work, chosen, PreviousRelease(model, frozen=False))
    assert "on the previous release's grid, 100.0% -> 100.0%" in kept.remark
