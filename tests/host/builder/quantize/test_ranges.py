"""Calibration: what was measured of a model on samples is measured once, whatever a search makes of it."""

import numpy as np
from msgspec.structs import replace

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Columns, Samples
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.ranges import calibrators, measure
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.counted import Counted
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


def test_16_bit_activations_are_never_clipped():
    """They have steps enough: what 8 bits gain by a clipped range, 16 bits lose."""
    source, samples, _read = counted_samples()
    name = source.graph.tensors[source.graph.ops[0].outputs[0]].name
    inputs = Inputs(samples, PREP, source)

    def limits(**plan: object):
        return measure(source, inputs, replace(Quantize(), **plan), silent)

    whole = limits(calibrator="min-max")
    clipped = limits(calibrator="percentile", percentile=90.0)
    assert clipped[name]["max"] < whole[name]["max"]
    wide = limits(calibrator="percentile", percentile=90.0, int16_layers=(name,))
    assert wide[name] == clipped[name]  # a layer of 8 bit reads it
    assert limits(activations="int16", io="int16") == whole
    layers = tuple(source.graph.tensors[op.outputs[0]].name for op in source.graph.ops)
    assert limits(calibrator="percentile", percentile=90.0, int16_layers=layers) == whole


def counted_samples() -> tuple[SourceModel, Samples, list[int]]:
    """A model, four samples, and which of them were read."""
    counted = Counted(Columns((np.load(FASHION / "calibration.npz")["inputs"][:4],)))
    return load_source(FASHION / "fashion-1.0.0.tflite"), Samples(counted), counted.reads


def test_what_the_inputs_reach_is_looked_at_once_for_all_plans():
    """Each of a search's candidates preprocessed every calibration sample for it, a third of what calibrating took."""

    source, samples, read = counted_samples()
    plans = [Quantize(), *(plan for _name, plan in calibrators(Quantize()))]
    ranges = [measure(source, Inputs(samples, PREP, source), plan, silent) for plan in plans]
    runs = len(("min-max", "moving-average", "distributions", "limits"))
    assert read.count(3) == runs
    assert all(one.keys() == ranges[0].keys() for one in ranges)


def test_how_far_the_channels_of_outputs_reach_is_measured_once_for_all_plans():
    """The float model ran on 32 samples for each of a search's candidates, to see whether outputs are to be split."""

    source, samples, read = counted_samples()
    first = quantize(source, samples, PREP, Quantize())
    read.clear()
    again = quantize(source, samples, PREP, Quantize(weight_ranges="octav"))
    assert not read
    assert first != again
    assert quantize(source, samples, PREP, Quantize()) == first
