"""Layer statistics: layers compared with the float model's, on models whose damage is known."""

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import tried_by
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.diagnose.activations import activations_of
from skerry_host.builder.diagnose.advice import Tried, explain, first_lost, notable, remedies, steepest
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.diagnose.layers import layers
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.quantize.search import SearchStep
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.table import BUILDERS
from tests.kit.recipes import FASHION

PREP = Feeding((Preprocess(1 / 255),))


@pytest.fixture(scope="module")
def samples() -> Samples:
    arrays = np.load(FASHION / "calibration.npz")
    return Samples.of(arrays["inputs"][:50], truth=arrays["labels"][:50])


@pytest.fixture(scope="module")
def int8(samples: Samples) -> bytes:
    return quantize(load_source(FASHION / "fashion-1.0.0.tflite"), samples, PREP, Quantize())


def damaged(int8: bytes, change) -> bytes:
    """The model with the parameters of its fifth operator's output or weights changed."""
    model = read_model(int8)
    op = model.subgraphs[0].operators[4]
    change(model, model.subgraphs[0].tensors[int(op.outputs[0])], model.subgraphs[0].tensors[int(op.inputs[1])])
    return write_model(model)


def narrow(model, output, weight) -> None:
    """Answers in a range that is far too small."""
    output.quantization.scale = [float(output.quantization.scale[0]) / 50]


def silence(model, output, weight) -> None:
    """No weights: channels that say nothing."""
    model.buffers[weight.buffer].data = np.zeros(len(model.buffers[weight.buffer].data), np.uint8)


def measure(int8: bytes, samples: Samples) -> list[LayerStats]:
    reference = activations_of((FASHION / "fashion-1.0.0.tflite").read_bytes())
    return layers(reference, activations_of(int8), samples.subset(range(4)).inputs, PREP)


def test_a_sound_model(int8: bytes, samples: Samples):
    found = measure(int8, samples)
    assert len(found) == 18
    assert [layer.index for layer in found] == list(range(18))
    assert min(layer.cosine for layer in found) > 0.98
    assert sum(layer.clipped > 0.02 for layer in found) < 3
    assert first_lost(found, 10) is None


@pytest.mark.parametrize(("damage", "word"), [(narrow, "clipped"), (silence, "dead")])
def test_the_damaged_layer_is_named(int8: bytes, samples: Samples, damage, word: str):
    found = measure(damaged(int8, damage), samples)
    lost = first_lost(found, 10)
    assert lost is not None
    assert lost.index == 4
    assert steepest(found).index == 4
    assert word in notable(lost, 10)
    line = explain(found, 10, Tried())
    assert f"first lost, under 10 dB, at {lost}" in line
    assert word in line
    assert "\n" not in line


def test_progress_is_told(int8: bytes, samples: Samples):
    told = []
    layers(
        activations_of(int8),
        activations_of(int8),
        samples.subset(range(3)).inputs,
        PREP,
        lambda step, done=0, of=0, /: told.append((done, of)),
    )
    assert told == [(0, 3), (1, 3), (2, 3)]


GOOD = LayerStats(0, "CONV_2D", "a;b", 30.0, 1.0, 0.0, 0, 0, 8, 4.0, 0.0)
ADVICE = {
    "per tensor": (GOOD, False, "cpu", "per_channel = true"),
    "clipped": (
        replace(GOOD, sqnr_db=5, clipped=0.2),
        True,
        "cpu",
        "calibrator = 'min-max' (20% of its values are clipped)",
    ),
    "outliers": (replace(GOOD, sqnr_db=5, crest=90), True, "cpu", "its largest value is 90 times the typical one"),
    "dead": (replace(GOOD, sqnr_db=5, dead=3), True, "cpu", "3 of 8 channels are dead"),
    "a TPU": (replace(GOOD, sqnr_db=5), True, "edgetpu", "mixed precision is not possible on the Edge TPU"),
    "a CPU": (replace(GOOD, sqnr_db=5), True, "cpu", "quantization-aware training (not tried)"),
}


@pytest.mark.parametrize("case", ADVICE)
def test_what_to_try(case: str):
    layer, per_channel, target, expected = ADVICE[case]
    assert expected in "; ".join(remedies([layer], 15, Tried(BUILDERS[target].last_resort, per_channel)))


def test_what_was_tried_is_not_advised():
    assert "search" in "; ".join(remedies([GOOD], 15, Tried()))
    assert "search" not in "; ".join(remedies([GOOD], 15, Tried(searched=True)))
    clipped = replace(GOOD, sqnr_db=5, clipped=0.2, crest=90)
    assert "calibrator" not in "; ".join(remedies([clipped], 15, Tried(searched=True)))  # a search tries all of them


def test_all_advice_that_this_build_did_not_follow_says_so():
    bad = replace(GOOD, sqnr_db=5, clipped=0.2, crest=90, dead=3)
    hints = remedies([bad], 15, Tried(per_channel=False))
    assert len(hints) == 6
    assert all(hint.endswith("(not tried)") for hint in hints)


def test_more_samples_are_advised_only_where_values_were_clipped():
    assert "more typical" not in "; ".join(remedies([replace(GOOD, sqnr_db=5)], 15, Tried()))


def test_what_was_tried_and_what_of_the_data_is_to_blame_is_told():
    line = explain([GOOD], 15, Tried(found="int16 was tried and misses", cause="the features differ"))
    assert "; the features differ; int16 was tried and misses; try: " in line


def test_fused_names_are_cut():
    assert str(GOOD) == "CONV_2D a (30.0 dB)"


def test_what_the_recipe_asked_for_is_not_advised_though_a_search_has_left_it():
    """A search that ended in one scale per tensor was followed by "try: per_channel = true (not tried)"."""
    steps = [SearchStep("one scale per tensor", 0.0, 20.0, 1.0, kept=True)]
    assert tried_by(Quantize(), steps, BUILDERS["cpu"]).per_channel
    assert not tried_by(Quantize(per_channel=False), steps, BUILDERS["cpu"]).per_channel
