"""Sensor features of very different ranges cannot share the scale of one int8 input."""

import numpy as np

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.features import features_of
from skerry_host.builder.data.samples import Samples

INPUT = TensorSpec("x", "float32", (1, 8))
DECADES = 10.0 ** np.arange(-4, 4)


def samples(scales) -> Samples:
    values = np.random.default_rng(0).normal(size=(200, 8)) * scales
    return Samples.of(values.astype(np.float32))


def test_features_over_eight_decades_are_named_with_the_remedy():
    """They were answered with: give more typical samples."""
    found = features_of(samples(DECADES), Feeding(), [INPUT])["x"]
    assert found.lost == [0, 1, 2, 3, 4]
    words = found.problem("x")
    assert "5 of 8 (feature 0, 1, 2, 3, 4) span less than 2 of its 255 steps" in words
    assert "[preprocess] mean and std" in words
    assert "samples" not in words


def test_the_remedy_is_true():
    """With a deviation for each feature all of them have steps."""
    prep = Preprocess(mean=(0.0,) * 8, std=tuple(DECADES))
    assert features_of(samples(DECADES), Feeding((prep,)), [INPUT])["x"].problem("x") == ""


def test_features_of_like_ranges_and_constant_ones_are_no_problem():
    assert features_of(samples(np.linspace(1, 20, 8)), Feeding(), [INPUT])["x"].problem("x") == ""
    assert features_of(samples([1, 1, 0, 0, 1, 1, 1, 1]), Feeding(), [INPUT])["x"].problem("x") == ""


def test_signals_and_images_have_no_features():
    assert features_of(samples(DECADES), Feeding(), [TensorSpec("x", "float32", (1, 2, 2, 2))]) == {}
    assert features_of(samples(DECADES), Feeding(), [TensorSpec("x", "float32", (1, 16000))]) == {}
