"""Samples that are kept as they fit a model: the same inputs to the bit, each made once, in bounded memory."""

import numpy as np
import pytest

from skerry_agent.processing import Feeding, ProcessingError
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.kept import Kept, fitting, forget, kept, shapes_of
from skerry_host.builder.data.samples import Columns, DataSet, Picked, Samples
from tests.kit.counted import Counted

RNG = np.random.default_rng(3)
COLOURS, GREY = (1, 12, 10, 3), (1, 12, 10, 1)
PIXELS = {
    "colours": RNG.integers(0, 256, (4, 20, 31, 3), np.uint8),
    "grey": RNG.integers(0, 256, (4, 20, 31), np.uint8),
    "floats": RNG.normal(size=(4, 9, 7, 3)).astype(np.float32),
    "with an alpha": RNG.integers(0, 256, (4, 12, 10, 4), np.uint8),
    "a batch of one": RNG.integers(0, 256, (4, 1, 20, 31, 3), np.uint8),
    "that fit": RNG.integers(0, 256, (4, 12, 10, 3), np.uint8),
}
PREPARED = {
    "letterbox": Preprocess(1 / 255, -0.5, resize="letterbox", pad=114, align="start"),
    "crop": Preprocess(1 / 255, resize="crop"),
    "blue first": Preprocess(mean=(1.0, 2.0, 3.0), std=(2.0, 3.0, 4.0), resize="stretch", color="bgr"),
    "planes": Preprocess(resize="stretch", layout="nchw"),
}


def spec(prep: Preprocess, dtype: str, scale: float = 0.0) -> TensorSpec:
    shape = (1, 3, 12, 10) if prep.layout == "nchw" else COLOURS
    return TensorSpec("x", dtype, shape, scale, 3 if scale else 0)


@pytest.mark.parametrize("prepared", PREPARED)
@pytest.mark.parametrize("pixels", PIXELS)
def test_what_the_model_gets_is_the_same_to_the_bit(pixels: str, prepared: str):
    raw, feeding = Columns((PIXELS[pixels],)), Feeding((PREPARED[prepared],))
    own = Kept(raw)
    for form in (spec(PREPARED[prepared], "float32"), spec(PREPARED[prepared], "int8", 0.02)):
        for _ in range(2):
            samples, left = fitting(Picked(own, (2, 0, 3)), feeding, [form])
            for at, place in enumerate((2, 0, 3)):
                (got,), (wanted,) = left.tensors(samples[at], [form]), feeding.tensors(raw[place], [form])
                np.testing.assert_array_equal(got, wanted)
                assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)


def test_a_grey_input_gets_the_grey_of_colours_once():
    raw, feeding = Columns((PIXELS["colours"],)), Feeding((Preprocess(resize="stretch", color="gray"),))
    form = TensorSpec("x", "float32", GREY)
    samples, left = fitting(Kept(raw), feeding, [form])
    np.testing.assert_array_equal(left.tensors(samples[1], [form])[0], feeding.tensors(raw[1], [form])[0])


def test_each_sample_is_read_and_fitted_once_for_all_candidates():
    counted, feeding = Counted(Columns((PIXELS["colours"],))), Feeding((PREPARED["letterbox"],))
    own = Kept(counted)
    for scale in (0.0, 0.02, 0.03):
        form = spec(PREPARED["letterbox"], "int8" if scale else "float32", scale)
        samples, left = fitting(own, feeding, [form])
        assert [left.tensors(samples[at], [form])[0].shape for at in range(4)] == [COLOURS] * 4
    assert [shapes_of(Picked(own, (3,)), 0), shapes_of(own, 1)] == [((20, 31, 3),)] * 2
    assert counted.reads == [0, 1, 2, 3]


def test_no_more_is_kept_than_is_said_and_the_rest_is_read_again():
    counted, feeding = Counted(Columns((PIXELS["colours"],))), Feeding((PREPARED["letterbox"],))
    form = spec(PREPARED["letterbox"], "float32")
    own = Kept(counted, most_bytes=2 * 12 * 10 * 3 + 1)
    samples, _left = fitting(own, feeding, [form])
    for _ in range(2):
        assert [samples[at][0].shape for at in range(4)] == [COLOURS[1:]] * 4
    assert counted.reads == [0, 1, 2, 3, 2, 3]
    own.forget()
    assert fitting(own, feeding, [form])[0][0][0].shape == COLOURS[1:]
    assert counted.reads[6:] == [0]


def test_what_is_in_memory_and_fits_is_not_held_twice():
    own = Kept(Columns((PIXELS["that fit"],)), most_bytes=1)
    samples, _left = fitting(own, Feeding(), [spec(Preprocess(), "float32")])
    assert np.shares_memory(samples[0][0], PIXELS["that fit"])


def test_samples_that_do_not_fit_are_refused_as_before():
    form, text = spec(Preprocess(), "float32"), np.full((2, 12, 10, 3), "a")
    for raw, words in ((Columns((text,)), "not a numeric one"), (Columns((text, text)), "has 2 arrays")):
        samples, left = fitting(Kept(raw), Feeding(), [form])
        with pytest.raises(ProcessingError, match=words):
            left.tensors(samples[0], [form])


def test_a_data_set_is_kept_and_forgotten_as_a_whole():
    raw = Samples.of(PIXELS["colours"], truth=range(4))
    data = kept(DataSet(raw, raw))
    form, feeding = spec(PREPARED["crop"], "float32"), Feeding((PREPARED["crop"],))
    first = fitting(data.evaluation.inputs, feeding, [form])[0][1]
    assert fitting(data.evaluation.inputs, feeding, [form])[0][1] is first
    forget(data)
    assert fitting(data.evaluation.inputs, feeding, [form])[0][1] is not first
    assert data.calibration.truth == [0, 1, 2, 3]
