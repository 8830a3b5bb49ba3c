"""The tuple of steps: search, advice and documentation read it, so a new step needs no other list."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.quantize import pipeline
from skerry_host.builder.quantize.pipeline import PIPELINE, choices, quantize, remedy
from skerry_host.builder.quantize.step import Step, always
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import STEPS, Quantize
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.recipes import FASHION, REPOSITORY

RECIPE = REPOSITORY / "docs" / "recipe.md"
OF_THE_SEARCH = {"search", "search_steps"}
OF_THE_BUILD = {"delta_friendly", "sticky"}


@pytest.fixture(scope="module")
def source() -> SourceModel:
    return load_source(FASHION / "fashion-1.0.0.tflite")


@pytest.fixture(scope="module")
def samples() -> Samples:
    inputs = np.load(FASHION / "calibration.npz")["inputs"][:4]
    return Samples.of(inputs)


def test_every_file_with_a_step_is_in_the_pipeline_and_its_steps_have_names_of_their_own():
    folder = Path(pipeline.__file__).parent
    assert {path.stem for path in folder.glob("*.py") if "\nSTEP = Step(" in path.read_text("utf-8")} == set(STEPS)
    assert [type(step) for step in PIPELINE] == [Step] * len(STEPS)
    assert len({step.name for step in PIPELINE}) == len(STEPS)


def names(plan: Quantize) -> list[str]:
    return [step.name for step in PIPELINE if step.applies(plan)]


def test_each_plan_has_its_steps():
    completed = "operators without an entry in the quantizer"
    measured = ["decompose activations", "split outputs of several kinds", "calibrate", "functions of one number"]
    plain = [*measured, "quantize", completed, "room for biases", "write operator versions"]
    assert names(Quantize()) == plain
    assert names(Quantize(activations="float", io="float")) == ["quantize"]
    wide = Quantize(activations="int16", io="int16", rounding="together", bias_correction=True)
    of_16_bit = ["decompose activations", "calibrate", "quantize", completed, "room for biases"]
    assert names(wide) == [*of_16_bit, "round weights together"]
    asked = names(Quantize(equalize=True, dense_by_row=True, rounding="together", bias_correction=True, io="uint8"))
    added = [name for name in asked if name not in plain]
    float_graph = ["cross-layer equalization", "dense layers by row"]
    assert added == [*float_graph, "round weights together", "bias correction", "uint8 inputs and outputs"]


def test_a_step_that_is_added_runs_and_one_that_does_not_apply_is_left_out(monkeypatch, source, samples):
    seen: list[bool] = []

    def look(draft):
        seen.append(draft.model is not None)
        return replace(draft)

    never = Step("never", lambda _plan: False, lambda _draft: pytest.fail("it does not apply"))
    monkeypatch.setattr(pipeline, "PIPELINE", (*PIPELINE, Step("look", always, look), never))
    quantize(source, samples, Feeding((Preprocess(1 / 255),)), Quantize())
    assert seen == [True]


def test_what_a_step_raises_is_said_as_the_model_s_fault(monkeypatch, source, samples):
    def refuse(_draft):
        raise ValueError("no\nsuch thing")

    monkeypatch.setattr(pipeline, "PIPELINE", (Step("refuse", always, refuse),))
    with pytest.raises(ModelError, match="the quantizer cannot take this model: no such thing"):
        quantize(source, samples, Feeding((Preprocess(1 / 255),)), Quantize())


def test_a_trained_model_is_not_equalized(source, samples):
    trained = replace(source, trained={"x": (0.0, 1.0)})
    with pytest.raises(ModelError, match="trained with") as refused:
        quantize(trained, samples, Feeding((Preprocess(1 / 255),)), Quantize(equalize=True))
    assert refused.value.code == "trained"


def test_a_search_goes_through_the_steps_by_search_order():
    plan = Quantize(calibrator="moving-average")
    found = [name for step in choices() for name, _candidate in step(plan)]
    assert found == [
        "calibrator min-max",
        "calibrator mse",
        "calibrator percentile 99.99",
        "calibrator percentile 99.9",
        "weights clipped (octav)",
        "one scale per tensor",
        "cross-layer equalization",
        "dense layers by row",
        "bias correction",
        "weights rounded together",
    ]


def test_a_choice_changes_only_the_keys_of_its_step():
    for step in PIPELINE:
        for _name, candidate in step.choices(Quantize()):
            before, after = msgspec.structs.asdict(Quantize()), msgspec.structs.asdict(candidate)
            assert {key for key in after if after[key] != before[key]} <= set(step.keys)


def test_a_remedy_is_one_of_the_keys_of_its_step():
    assert remedy("clipped") == "calibrator = 'min-max'"
    assert all(text.partition(" =")[0] in step.keys for step in PIPELINE for text in step.remedies.values())


def test_every_key_belongs_to_a_step_and_is_documented():
    keys = {key for step in PIPELINE for key in step.keys}
    assert keys | OF_THE_SEARCH | OF_THE_BUILD == set(Quantize.__struct_fields__)
    documented = RECIPE.read_text("utf-8")
    assert [key for key in sorted(keys) if f"\n| `{key}` |" not in documented] == []


def test_the_documentation_lists_the_steps():
    assert f"<!-- steps: begin -->\n{listed()}<!-- steps: end -->" in Path(RECIPE).read_text("utf-8")


def listed() -> str:
    lines = []
    for number, step in enumerate(PIPELINE, 1):
        keys = ", ".join(f"`{key}`" for key in step.keys)
        lines.append(f"{number}. {step.name}{f' ({keys})' if keys else ''}\n")
    return "".join(lines)
