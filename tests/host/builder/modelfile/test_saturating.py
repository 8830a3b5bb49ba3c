"""Activations that only a sigmoid reads: their far ends mean the same, and take no steps of the others."""

from dataclasses import replace

import numpy as np

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.saturating import saturating
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.ranges import calibrators, measure
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel
from tests.kit.float_graphs import FloatMaker, options, source_of

ROW = (1, 4)


def scored(*, silu: bool = False) -> bytes:
    """x / 0.01 is moved about and goes through a sigmoid, and is an output itself after another way."""
    made = FloatMaker()
    made.real("x", ROW)
    for name in ("large", "score", "other", "left"):
        made.real(name, ROW)
    made.real("turned", (4, 1))
    made.op("MUL", ["x", made.constant("hundred", [100.0])], ["large"], 1, options("Mul"))
    made.op("RESHAPE", ["large", made.constant("shape", [4, 1], "int32")], ["turned"], 1, options("Reshape"))
    made.real("sigmoid", (4, 1))
    made.op("LOGISTIC", ["turned"], ["sigmoid"], 1)
    made.op("RESHAPE", ["sigmoid", made.constant("back", [1, 4], "int32")], ["score"], 1, options("Reshape"))
    made.op("MUL", ["large" if silu else "x", "score"], ["other"], 1, options("Mul"))
    made.op("MUL", ["x", made.constant("thousand", [1000.0])], ["left"], 1, options("Mul"))
    return made.data(["x"], ["other", "left"])


def test_what_is_moved_to_a_sigmoid_saturates_and_what_others_read_does_not():
    graph = source_of(scored()).graph
    assert saturating(graph) == {"large", "turned"}
    assert saturating(graph, ["left"]) == {"large", "turned", "left"}
    assert saturating(source_of(scored(silu=True)).graph) == {"turned"}


def test_no_calibrator_spends_steps_on_what_a_sigmoid_cannot_tell_apart():
    """A face detector's logits lie between -9000 and 3: one step was 36, and every score 0 or 0.5."""
    source, rows = source_of(scored()), np.tile(np.float32([-1, -0.5, 0.5, 1]), (8, 1))
    inputs = Inputs(Samples.of(rows), Feeding(), source)
    for plan in (Quantize(), *(plan for _name, plan in calibrators(Quantize()))):
        found = measure(source, inputs, plan, silent)
        assert {float(found[name]["max"][0]) for name in ("large", "turned")} == {8.0}
        assert found["left"]["max"][0] > 100


def ends(source: SourceModel, name: str, plan: Quantize) -> tuple[float, float]:
    rows = np.tile(np.float32([-1, -0.5, 0.5, 1]), (8, 1))
    found = measure(source, Inputs(Samples.of(rows), Feeding(), source), plan, silent)[name]
    return float(found["min"][0]), float(found["max"][0])


def test_16_bits_and_float_tell_more_apart():
    """A sigmoid of 16 bits goes down to 1 in 65,536; the logarithm of one that stays float never ends."""
    source = source_of(scored())
    assert ends(source, "large", Quantize(activations="int16", io="int16")) == (-12.0, 12.0)
    assert ends(source, "large", Quantize(keep_float=("LOGISTIC",)))[0] < -90


def test_scores_that_are_ranked_keep_their_upper_end():
    """Of boxes that overlap the best one stays: where all are 8 it would be the first."""
    source = replace(source_of(scored()), through_sigmoid=frozenset({"left"}), ranked=True)
    low, high = ends(source, "left", Quantize(calibrator="min-max"))
    assert (low, high) == (-8.0, 1000.0)
    assert ends(source, "large", Quantize())[1] == 8.0
