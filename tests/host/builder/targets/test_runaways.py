"""Calibration samples in which the float model runs away: left out of a search, by name, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.judge.evaluate import evaluate
from skerry_host.builder.judge.paired import PairedEvaluation
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import load_recipe
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.choose import SEARCH_SAMPLES, Work, _ranking
from skerry_host.builder.targets.runaways import FEWEST, calm, runaways
from skerry_host.builder.targets.table import BUILDERS
from tests.kit.counted import Counted
from tests.kit.edgetpu.models import Maker
from tests.kit.recipes import FASHION

RANDOM = np.random.default_rng(5)
USUAL = RANDOM.uniform(60, 400, 200)
RARE = np.where(np.arange(200) == 7, 0.99, RANDOM.uniform(0.001, 0.004, 200))

PEAKS = {
    "none": (USUAL, []),
    "one in two hundred": (np.where(np.arange(200) == 160, 13_600.0, USUAL), [160]),
    "two, of which the second is no usual one": (np.where(np.isin(np.arange(200), (3, 9)), 9_000.0, USUAL), [3, 9]),
    "a rare answer that is sure": (RARE, []),
    "a heavy tail": (RANDOM.pareto(0.4, 200) + 1, []),
    "all zero": (np.zeros(200), []),
}


@pytest.mark.parametrize("case", PEAKS)
def test_what_is_far_above_all_others_and_nothing_else_runs_away(case: str):
    peaks, wanted = PEAKS[case]
    assert runaways(peaks).tolist() == wanted


def linear() -> bytes:
    made = Maker()
    made.tensor("x", (1, 4), "float32")
    made.tensor("y", (1, 2), "float32")
    made.tensor("w", (2, 4), "float32", RANDOM.normal(0, 1, (2, 4)))
    made.op("FULLY_CONNECTED", ["x", "w"], ["y"], options=schema.FullyConnectedOptionsT())
    return made.data(["x"], ["y"])


def test_a_sample_that_runs_away_is_left_out_by_name_except_of_a_stream():
    inputs = RANDOM.normal(0, 1, (100, 4)).astype(np.float32)
    inputs[42] *= 1000
    model, samples = linear(), Samples.of(inputs, truth=range(100))
    found = calm(model, samples, Feeding())
    assert found.left_out.startswith("without calibration sample 42, in which the float model's y reaches ")
    assert len(found.samples) == 99
    assert found.samples.truth is not None
    assert 42 not in found.samples.truth
    assert calm(model, samples, Feeding(feedback={"x": "y"})).left_out == ""
    assert calm(model, samples.subset(range(40, 40 + FEWEST - 1)), Feeding()).left_out == ""


@pytest.mark.parametrize("wild", [(), (7, 100)], ids=["all are calm", "two run away"])
def test_the_float_model_answers_each_calibration_sample_once_for_the_whole_search(wild: tuple[int, ...]):
    """Candidates are ranked beside the answers by which samples were left out: it was asked for them twice."""
    loaded = load_recipe(FASHION, "1.0.0")
    source = replace(load_source(loaded.source), data=linear())
    raw = RANDOM.normal(0, 1, (2 * SEARCH_SAMPLES + 1, 4)).astype(np.float32)
    raw[list(wild)] *= 1000
    counted = Counted(Samples.of(raw).inputs)
    samples = Samples(counted, [at % 2 for at in range(len(raw))])
    feeding, meaning = loaded.recipe.feeding, loaded.recipe.meaning
    found = calm(source.data, samples, feeding)
    assert sorted(counted.reads) == list(range(len(raw)))
    evaluation = PairedEvaluation(source.data, samples, loaded.recipe)
    work = Work(BUILDERS["cpu"], loaded.recipe, source, DataSet(samples, samples), evaluation, silent)
    score, ranked = _ranking(work, found)
    assert len(counted.reads) == len(raw)
    assert (len(found.samples), len(ranked)) == (len(raw) - len(wild), 200)
    wanted = evaluate(source.data, ranked, feeding, meaning)
    assert (score.metric, score.value, score.interval) == (wanted.metric, wanted.value, wanted.interval)
    for name, part in wanted.outputs.items():
        np.testing.assert_array_equal(score.outputs[name], part)
