"""The sums of one layer's statistics: as they are defined, whatever part of a sample is added at a time."""

from math import log10

import numpy as np
import pytest

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.diagnose.layer_stats import BLOCK, LANES, LayerStats, LayerStatsCollector

SCALE = 0.02
SHAPES = ((1, 64, 64, 24), (1, 7, 9, 3), (1, 3, 5 * LANES), (1, LANES, 1), (1, 1), (2, 5), (BLOCK + 1,), ())


def rounded(real: Array) -> Array:
    """As an int8 tensor would hold it."""
    return (np.clip(np.rint(real / SCALE), -128, 127) * SCALE).astype(np.float32)


def layer_of(samples: list[tuple[Array, Array]]) -> LayerStats:
    collector = LayerStatsCollector(TensorSpec("x", "int8", samples[0][0].shape, SCALE, 0))
    for real, got in samples:
        collector.add(real, got)
    return collector.layer(0, "CONV_2D", "x", 0.0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_figures_are_those_of_all_values_at_once(shape: tuple[int, ...]):
    rng = np.random.default_rng(len(shape))
    reals = [np.asarray(rng.normal(scale=spread, size=shape), np.float32) for spread in (0.1, 1.5)]
    found = layer_of([(real, rounded(real)) for real in reals])
    a = np.stack(reals).astype(np.float64)
    b = np.stack([rounded(real) for real in reals]).astype(np.float64)
    rows, got = (values.reshape(-1, shape[-1] if shape else 1) for values in (a, b))
    still, moves = np.ptp(got, axis=0) == 0, np.ptp(rows, axis=0) > 0
    assert found.sqnr_db == pytest.approx(10 * log10(np.square(a).sum() / np.square(a - b).sum()))
    assert found.cosine == pytest.approx((a * b).sum() / np.sqrt(np.square(a).sum() * np.square(b).sum()))
    assert found.crest == pytest.approx(np.abs(a).max() / np.sqrt(np.square(a).mean()))
    assert found.clipped == np.mean((a < -128.5 * SCALE) | (a > 127.5 * SCALE))
    assert (found.dead, found.silent, found.channels) == ((moves & still).sum(), (~moves & still).sum(), len(still))


def test_channels_are_told_apart_in_every_row():
    """Rows are looked at side by side: the last ones, which fill no line, count as well."""
    real = np.zeros((1, LANES + 1, 3), np.float32)
    real[0, -1, 1], real[0, 5, 2] = 1.0, -1.0
    got = real.copy()
    got[0, 5, 2] = 0.0
    found = layer_of([(real, got)])
    assert (found.dead, found.silent) == (1, 1)


def test_one_value_that_is_no_number_hides_no_clipped_one():
    real = np.zeros((1, 100, 4), np.float32)
    real[0, 3, 0], real[0, 4, 1] = np.nan, 100.0
    assert layer_of([(real, rounded(np.nan_to_num(real)))]).clipped == 1 / 400
