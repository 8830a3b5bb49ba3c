"""What layers of another form cost is said in time and bytes, and nothing is said where all are alike."""

import numpy as np
import pytest

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.diagnose.mixed import mixed_remarks, weakest
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel, load_source
from tests.kit.dense_models import dense_model
from tests.kit.recurrent_models import FEATURES, STEPS, simple_rnn

KEPT, WIDE = Quantize(keep_float=("sum/step1",)), Quantize(int16_layers=("sum/step1",))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceModel:
    file = tmp_path_factory.mktemp("mixed") / "m.tflite"
    file.write_bytes(simple_rnn())
    return load_source(file)


def model(source: SourceModel, plan: Quantize) -> bytes:
    inputs = np.random.default_rng(1).random((16, STEPS, FEATURES), np.float32)
    return quantize(source, Samples.of(inputs), Feeding(), plan)


def test_islands_are_named_with_their_share_of_the_time_and_their_bytes(source: SourceModel):
    (said,) = mixed_remarks(model(source, KEPT), KEPT, None, source.data)
    assert said.startswith("float islands: 1 of ")
    assert "% of the time on this machine, 0 bytes of float constants: ADD (sum/step1)" in said


def test_16_bit_has_its_price_in_milliseconds_and_bytes(source: SourceModel):
    made, uniform = model(source, WIDE), model(source, Quantize())
    (said,) = mixed_remarks(made, WIDE, uniform, source.data)
    assert "ms with 8 bit everywhere and " in said
    assert " ms in float, on this machine" in said
    assert f"{len(made) - len(uniform):+,} bytes beside 8 bit: sum/step1" in said


def test_what_is_slower_than_the_float_model_is_called_so(source: SourceModel):
    """A segmenter got 16 bit in all layers: 76 ms, float 3.6."""
    made = model(source, WIDE)
    heavy = dense_model((2000,), [np.ones((2000, 2000))], [(2000,)])
    assert "slower than the float model" not in mixed_remarks(made, WIDE, made, heavy)[0]
    assert "slower than the float model" in mixed_remarks(heavy, WIDE, made, made)[0]


def test_nothing_is_said_of_layers_of_one_form_but_who_quantized_them(source: SourceModel):
    data = model(source, Quantize())
    assert mixed_remarks(data, Quantize(), None, data) == []
    assert mixed_remarks(data, Quantize(quantizer="tensorflow"), None, data) == ["quantized by TensorFlow's quantizer"]


def test_the_weakest_layer_is_the_one_that_loses_most_of_what_comes_in():
    assert weakest([("a", 30.0, 0.5), ("b", 12.0, 0.5), ("c", 20.0, 9.0)]) == ["c", "b", "a"]
