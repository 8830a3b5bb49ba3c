"""Rewrites that let a graph run on integers: the numbers stay, and every operator is one that compilers know."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.edgetpu.preflight import preflight_model
from skerry_host.builder.edgetpu.table import operator_table
from skerry_host.builder.judge.signal import sqnr_db
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.op_versions import write_versions
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.edgetpu.models import Maker

RANDOM = np.random.default_rng(0)
PREP = Feeding((Preprocess(1 / 127.5, -1.0),))
PICTURES = RANDOM.integers(30, 140, (24, 6, 8, 4), np.uint8)
SAMPLES = Samples.of(PICTURES)


def grouped(multiplier: int = 1, *, groups: int = 4) -> bytes:
    """A grouped convolution of unequal strides as converters leave it, HARD_SWISH, a plain convolution."""
    made, filters = Maker(), 4 * multiplier
    made.tensor("x", (1, 6, 8, 4), "float32")
    weights = RANDOM.normal(0, 0.3, (filters, 3, 3, 4 // groups))
    made.tensor("w", weights.shape, "float32", weights)
    made.tensor("b", (filters,), "float32", RANDOM.normal(0, 0.2, filters))
    made.tensor("conv", (1, 3, 8, filters), "float32")
    made.tensor("swish", (1, 3, 8, filters), "float32")
    made.tensor("w2", (5, 1, 1, filters), "float32", RANDOM.normal(0, 0.4, (5, 1, 1, filters)))
    made.tensor("b2", (5,), "float32", np.zeros(5))
    made.tensor("y", (1, 3, 8, 5), "float32")
    strides, plain = schema.Conv2DOptionsT(), schema.Conv2DOptionsT()
    strides.strideH, strides.strideW = 2, 1
    plain.strideH = plain.strideW = 1
    made.op("CONV_2D", ["x", "w", "b"], ["conv"], 6, strides)
    made.op("HARD_SWISH", ["conv"], ["swish"])
    made.op("CONV_2D", ["swish", "w2", "b2"], ["y"], 6, plain)
    return made.data(["x"], ["y"])


def loaded(data: bytes, folder: Path) -> SourceModel:
    (folder / "m.tflite").write_bytes(data)
    return load_source(folder / "m.tflite")


def answers(data: bytes) -> np.ndarray:
    session = Session(data)
    outputs = [session.run_raw((sample,), PREP)[0] for sample in PICTURES]
    spec = session.outputs[0]
    return (np.array(outputs, np.float64) - spec.zero_point) * (spec.scale or 1.0)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_convolution_of_as_many_groups_as_channels_is_a_depthwise_one(tmp_path: Path, multiplier: int):
    data = grouped(multiplier)
    source = loaded(data, tmp_path)
    assert [op.name for op in source.graph.ops] == ["DEPTHWISE_CONV_2D", "HARD_SWISH", "CONV_2D"]
    assert "1 grouped convolutions written as depthwise ones" in source.changes
    assert np.allclose(answers(source.data), answers(data), rtol=0, atol=1e-6)


def test_other_groups_stay(tmp_path: Path):
    """Each filter reads two channels of four: no depthwise convolution."""
    source = loaded(grouped(groups=2), tmp_path)
    assert [op.name for op in source.graph.ops] == ["CONV_2D", "HARD_SWISH", "CONV_2D"]
    made = read_model(quantize(source, SAMPLES, PREP, Quantize()))
    assert made.operatorCodes[made.subgraphs[0].operators[0].opcodeIndex].version == 6
    assert "version" in preflight_model(quantize(source, SAMPLES, PREP, Quantize())).refusal


def test_on_integers_hard_swish_is_spelt_out_and_every_operator_maps(tmp_path: Path):
    source = loaded(grouped(), tmp_path)
    made = quantize(source, SAMPLES, PREP, Quantize())
    found = preflight_model(made)
    assert [one.op for one in found.all] == ["DEPTHWISE_CONV_2D", "ADD", "MUL", "MUL", "CONV_2D"]
    assert (found.mapped, found.refusal) == (5, "")
    assert sqnr_db(answers(source.data), answers(made)) > 24
    assert "HARD_SWISH" in [op.name for op in source.graph.ops]  # float has a quick kernel of its own


def test_no_version_is_above_what_the_edge_tpu_compiler_knows(tmp_path: Path):
    """CONV_2D came as version 6 because of the grouped one, which is gone."""
    model = read_model(quantize(loaded(grouped(), tmp_path), SAMPLES, PREP, Quantize()))
    newest = operator_table().newest
    versions = {code.builtinCode: code.version for code in model.operatorCodes}
    assert 3 <= versions[schema.BuiltinOperator.CONV_2D] <= newest["CONV_2D"]
    write_versions(model)
    assert versions == {code.builtinCode: code.version for code in model.operatorCodes}


@pytest.mark.parametrize("calibrator", ["min-max", "moving-average", "percentile", "mse"])
def test_no_calibrator_clips_what_a_device_hands_in(tmp_path: Path, calibrator: str):
    """The samples are 30 to 140: pixels of 0 and 255 become -1 and 1, and must stay that."""
    session = Session(quantize(loaded(grouped(), tmp_path), SAMPLES, PREP, Quantize(calibrator=calibrator)))
    scale, zero = session.inputs[0].scale, session.inputs[0].zero_point
    assert (-128 - zero) * scale <= -1 + scale
    assert (127 - zero) * scale >= 1 - scale
    assert scale < 2.02 / 255


def test_the_input_holds_what_the_samples_have_and_what_a_uint8_can_be(tmp_path: Path):
    source = loaded(grouped(), tmp_path)
    real, moved = Samples.of(PICTURES.astype(np.float32)), Feeding((Preprocess(1.0, 5.0),))
    assert Inputs(SAMPLES, PREP, source).input_ranges() == [pytest.approx((-1, 1))]
    low, high = PICTURES.min() / 127.5 - 1, PICTURES.max() / 127.5 - 1
    assert Inputs(real, PREP, source).input_ranges() == [pytest.approx((low, high))]
    assert Inputs(real, moved, source).input_ranges() == [pytest.approx((0, PICTURES.max() + 5.0))]


def test_weights_are_clipped_where_there_are_other_constants_too(tmp_path: Path):
    """OCTAV takes weights only: the constants of ADD and MUL made it refuse the model."""
    source = loaded(grouped(), tmp_path)
    made = quantize(source, SAMPLES, PREP, Quantize(weight_ranges="octav"))
    plain = quantize(source, SAMPLES, PREP, Quantize())
    assert sqnr_db(answers(source.data), answers(made)) > 15
    assert made != plain
