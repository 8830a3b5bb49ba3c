"""The search with made-up models, and on a real one that the default settings spoil."""

import re
from pathlib import Path

import pytest

from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.quantize.search import QuantizationLoss, Tools, search, told
from skerry_host.builder.recipe.errors import BuildRefused, ModelError
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Quantize
from tests.kit.recipes import NOW

FITS = {
    "calibrator='mse'": QuantizationLoss(0.02, 14.0),
    "calibrator='min-max'": QuantizationLoss(0.04, 12.0),
    "weight_ranges='octav'": QuantizationLoss(0.02, 13.0),
    "equalize=True": QuantizationLoss(0.005, 18.0),
    "bias_correction=True": QuantizationLoss(0.005, 18.05),
}
PLAIN = QuantizationLoss(0.05, 11.0)
PLAN = Quantize()
PLAIN_WAY = 'calibrator = "moving-average"'
"""The quickest, not the best."""


def tools(enough_db: float) -> Tools:
    """A world in which a model is its plan's text and the last listed choice in it decides how good it is."""

    def make(plan: Quantize) -> bytes:
        if plan.calibrator == "percentile":
            raise ModelError("no histogram")
        return repr(plan).encode()

    def fit(model: bytes, _plan: Quantize = PLAN) -> QuantizationLoss:
        found = [fit for text, fit in FITS.items() if text in model.decode()]
        return found[-1] if found else PLAIN

    def enough(model: bytes, _plan: Quantize) -> bool:
        return fit(model).sqnr_db >= enough_db

    return Tools(make, fit, enough, silent, 0.001, QuantizationLoss(1.0, enough_db))


def run(enough_db: float, steps: int = 12):
    plan = Quantize(calibrator="moving-average", search_steps=steps, quantizer="litert")
    made = tools(enough_db)
    return search(plan, made.make(plan), made)


def test_each_step_builds_on_the_best_before_it():
    found = run(100)
    assert (found.plan.calibrator, found.plan.equalize, found.plan.weight_ranges) == ("mse", True, "min-max")
    assert not found.plan.bias_correction  # 0.05 dB are no reason
    kept = [step.name for step in found.steps if step.kept]
    assert kept == ["as in the recipe", "calibrator min-max", "calibrator mse", "cross-layer equalization"]
    assert [str(step) for step in found.steps if "mse" in step.name] == [
        "calibrator mse: 14.0 dB (+2.0 dB), drop 2.00%, kept"
    ]


def test_it_stops_as_soon_as_the_model_is_good_enough():
    found = run(13.5)
    assert found.plan.calibrator == "mse"
    assert found.steps[-1].name.startswith("calibrator")


def test_what_cannot_be_made_is_said_and_skipped():
    lines = [str(step) for step in run(100).steps]
    assert "calibrator percentile 99.99: not possible with this model (no histogram)" in lines


def test_it_ends_after_so_many_tries_whatever_the_time_and_says_so():
    found = run(100, steps=2)
    assert [step.name for step in found.steps[:-1]] == ["as in the recipe", "calibrator min-max", "calibrator mse"]
    assert str(found.steps[-1]) == "the rest, after search_steps = 2: not tried"
    assert found.plan.calibrator == "mse"


def test_only_the_form_that_the_recipe_asks_for():
    plan = Quantize(per_channel=False, activations="int16", io="float")
    made = tools(100)
    names = [step.name for step in search(plan, made.make(plan), made).steps]
    first = ["as in the recipe", "weights clipped (octav)", "cross-layer equalization"]
    assert names == [*first, "weights rounded together"]


def test_a_build_over_its_budget_is_searched_and_says_what_each_step_gained(make_recipe, tmp_path: Path):
    folder = make_recipe(("min_sqnr_db = 15.0", "min_sqnr_db = 36.5"), ('io = "int8"', f'io = "int8"\n{PLAIN_WAY}'))
    made = build(BuildRequest(folder, "generic-x86", NOW, "1.1.0", tmp_path / "b", targets=["cpu"]))
    assert made.record.search[0].startswith("as in the recipe: ")
    assert any(line.endswith("kept") for line in made.record.search[1:])
    assert min(made.record.quality.sqnr_db.values()) >= 36.5


def test_a_search_in_vain_is_refused_with_the_layers(make_recipe, tmp_path: Path):
    folder = make_recipe(("min_sqnr_db = 15.0", "min_sqnr_db = 90.0"), ("[budget]", "search_steps = 3\n[budget]"))
    with pytest.raises(BuildRefused, match=r"lowest SQNR in .*; activations = 'int16' .* was tried") as refused:
        build(BuildRequest(folder, "generic-x86", NOW, "1.0.0", tmp_path / "b", targets=["cpu"]))
    assert re.search(r"; 4 settings were tried on .+; the best is .+ with \d+\.\d dB; --report", str(refused.value))
    first, *_others, last = refused.value.search
    assert first.startswith("as in the recipe: ")
    assert last == "the rest, after search_steps = 3: not tried"
    assert refused.value.facts()["search"] == refused.value.search


def test_the_best_of_what_was_tried_is_told_with_all_that_it_has():
    (line,) = told(run(100).steps)
    best = "the best is cross-layer equalization, upon what was kept before, with 18.0 dB"
    assert line.endswith(f" settings were tried on calibration samples; {best}")
    assert told(()) == told(run(100).steps[:1]) == []


def test_a_recipe_may_forbid_it(make_recipe, tmp_path: Path):
    folder = make_recipe(
        ("min_sqnr_db = 15.0", "min_sqnr_db = 36.5"), ('io = "int8"', f'io = "int8"\nsearch = false\n{PLAIN_WAY}')
    )
    with pytest.raises(BuildRefused, match=r"under min_sqnr_db 36\.5"):
        build(BuildRequest(folder, "generic-x86", NOW, "1.1.0", tmp_path / "b", targets=["cpu"]))


def test_a_model_that_happens_to_beat_the_float_one_is_no_better_than_one_with_more_of_its_signal():
    lucky, true = QuantizationLoss(-0.015, 21.3), QuantizationLoss(0.0, 32.5)
    assert true.beats(lucky, 0.01)
    assert not lucky.beats(true, 0.01)
