"""The drift baseline of a build is of its held-out samples, and stays within its bytes."""

import numpy as np
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.drift import MOST_BYTES, drift_baseline
from skerry_host.builder.recipe.recipe import load_recipe
from tests.kit.recipes import FASHION


def test_a_build_has_the_baseline_of_its_classes_and_inputs(built: Build):
    drift = built.record.bundles[0].drift
    assert drift is not None
    by_name = {histogram.name: histogram for histogram in drift.histograms}
    assert by_name["class"].edges == tuple(float(n) for n in range(10))
    assert sum(by_name["class"].counts) == sum(by_name["score"].counts) == min(512, built.record.quality.samples)
    assert sum(by_name["input mean"].counts) == drift.samples


def test_many_outputs_do_not_make_a_manifest_large():
    recipe = replace(load_recipe(FASHION).recipe, task="raw")
    rng = np.random.default_rng(0)
    outputs = [rng.random((600, 4)) * 1e-7 for _ in range(40)]
    drift = drift_baseline(outputs, Samples.of(rng.random((600, 8))), recipe, (1, 1))
    assert drift is not None
    assert len(codec.encode(drift)) <= MOST_BYTES
