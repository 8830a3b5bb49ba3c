"""Calibration samples in which the float model runs away: left out of a search, by name, and nothing else is."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.targets.runaways import FEWEST, calm, runaways
from tests.kit.edgetpu.models import Maker

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
