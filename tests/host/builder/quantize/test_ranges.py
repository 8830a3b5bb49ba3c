"""Calibration: what was measured of a model on samples is measured once, whatever a search makes of it."""

import numpy as np
from msgspec.structs import replace

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.ranges import calibrators, measure
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import load_source
from tests.kit.recipes import FASHION

PREP = Feeding((Preprocess(1 / 255),))


def test_a_search_through_the_calibrators_runs_the_model_once_for_each_kind_of_measurement():
    pictures = np.load(FASHION / "calibration.npz")["inputs"][:24]
    source, told = load_source(FASHION / "fashion-1.0.0.tflite"), list[str]()

    def ranges(samples: Samples, plan: Quantize):
        told.clear()
        return measure(source, Inputs(samples, PREP, source), plan, lambda step, done=0, of=0, /: told.append(step))

    samples = Samples.of(pictures)
    plans = [Quantize(), *(plan for _name, plan in calibrators(Quantize()))]
    begun = [ranges(samples, plan) and {step.split()[0] for step in told} for plan in plans]
    assert begun == [{"calibrating", "measuring"}, set(), {"calibrating"}, set(), set()]
    found = ranges(samples, Quantize(calibrator="percentile"))
    next(iter(found.values()))["max"] += 1  # as a later step may: nobody else sees it
    again, anew = (
        ranges(some, replace(Quantize(), calibrator="percentile")) for some in (samples, Samples.of(pictures))
    )
    assert told
    assert again.keys() == anew.keys()
    assert all(again[name] == anew[name] for name in again)
