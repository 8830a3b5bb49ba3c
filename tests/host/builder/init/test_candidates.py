"""Preprocessings that are tried, and the order of classes that answers show."""

import numpy as np
import pytest

from skerry_agent.processing import preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.init.candidates import (
    Candidate,
    Trial,
    best_of,
    by_order,
    features,
    outputs_of_classes,
    placed,
    raw_values,
    scales,
    variants,
)


@pytest.mark.parametrize("tensor", [("uint8", 0.0078125, 128), ("int8", 1 / 255, -128), ("uint8", 0.5, 0)])
def test_a_quantized_input_gets_the_bytes_of_an_image_as_they_are(tensor):
    spec = TensorSpec("x", tensor[0], (1, 256), tensor[1], tensor[2])
    raw = np.arange(256, dtype=np.uint8)
    got = preprocess(raw, raw_values(Preprocess(), spec), spec)[0].astype(int)
    np.testing.assert_array_equal(got, raw.astype(int) - (128 if tensor[0] == "int8" else 0))


def test_of_equal_figures_the_most_usual_preprocessing_is_first():
    found = best_of(scales(Preprocess(), 3), lambda one: Trial(one, 0.5, np.zeros((1, 1)), ""))
    assert found[0].candidate.words == "values in 0..1"


def test_the_other_order_of_colours_turns_the_means_too():
    best = Candidate("mean", Preprocess(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), resize="crop"))
    turned, *resized = variants(best, 3, resized=True)
    assert (turned.prep.color, turned.prep.mean, turned.prep.std) == ("bgr", (3.0, 2.0, 1.0), (6.0, 5.0, 4.0))
    assert [one.prep.resize for one in resized] == ["stretch", "letterbox"]


def test_columns_of_a_table_may_be_standardized():
    samples = Samples.of(np.array([[1, 10], [3, 10], [5, 10]], np.float32))
    standard = features(Preprocess(), samples)[-1].prep
    assert standard.mean == (3.0, 10.0)
    assert standard.std[1] == 1.0  # of a column that is always the same


def test_the_order_of_classes_follows_from_the_answers():
    truth = np.array([0, 0, 0, 1, 1, 1])
    answers = np.eye(4)[[2, 2, 0, 1, 1, 1]]
    order = outputs_of_classes(answers, truth)
    assert order == {0: 2, 1: 1}
    assert placed(("cat", "dog", "class 2", "class 3"), order) == ("class 0", "dog", "cat", "class 3")
    (trial,) = by_order([Trial(Candidate("", Preprocess()), 0.1, answers, "")], truth, order)
    assert (trial.value, trial.shown) == (pytest.approx(5 / 6), "top1 83.3%")


def test_answers_that_are_all_the_same_show_no_order():
    assert outputs_of_classes(np.eye(3)[[1, 1, 1]], np.array([0, 1, 2])) is None
