"""Golden samples and their limits: what another device's kernels do to a model must not refuse it there."""

import numpy as np
import pytest

from skerry_agent.processing import GoldenSet, compare_golden, parse_npz, preprocess
from skerry_agent.wire.manifest import Golden, Preprocess
from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.golden import Recorded, choose, outputs_of, problem, record, replay, unsteadiness
from skerry_host.builder.recipe.recipe import GoldenPlan
from skerry_host.builder.runtime.session import Session
from tests.kit.recipes import FASHION, REAL, needs_real


@pytest.fixture(scope="module")
def model(built: Build) -> bytes:
    return (built.path / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def prep(built: Build) -> Preprocess:
    return built.record.bundles[0].preprocess


@pytest.fixture(scope="module")
def samples() -> Samples:
    arrays = parse_npz((FASHION / "evaluation.npz").read_bytes(), "evaluation.npz")
    return Samples(arrays["inputs"][:200], arrays["labels"][:200])


def test_the_steadiest_samples_are_taken(model: bytes, prep: Preprocess, samples: Samples):
    plan = GoldenPlan(samples=16)
    session, other = Session(model), Session(model, default_kernels=False)
    tensors = [preprocess(samples.inputs[i], prep, session.input) for i in choose(samples.labels, 16)]
    first = GoldenSet((np.concatenate(tensors),), outputs_of(session, tensors))
    taken = record(model, samples, prep, plan).golden

    def worst(golden: GoldenSet) -> int:
        return max(unsteadiness(session, golden, replay(other, golden)))

    assert len(taken) == 16
    assert worst(taken) < worst(first)


def test_the_cheapest_of_each_class_come_first():
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert choose(labels, 4, cost=[9, 1, 5, 7, 8, 0]) == [1, 5, 2, 3]


@needs_real
def test_a_device_with_other_kernels_passes():
    """A real uint8 model: its runtime's two sets of kernels lie further apart than a fixed limit would allow."""
    model = (REAL / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    inputs = np.random.default_rng(1).integers(0, 256, (20, 128, 128, 3), np.uint8)
    made = record(model, Samples(inputs, np.zeros(20, np.int64)), Preprocess(), GoldenPlan(samples=16))
    elsewhere = replay(Session(model, default_kernels=False), made.golden)
    assert compare_golden(made.golden.outputs, elsewhere, made.limits).ok
    assert made.spread_lsb > Golden().max_lsb
    assert not made.remark


def test_limits_of_the_recipe_are_taken_as_they_are(model: bytes, prep: Preprocess, samples: Samples):
    made = record(model, samples, prep, GoldenPlan(samples=16, max_lsb=0, min_top1=0.5))
    assert made.limits == Golden(max_lsb=0, min_top1=0.5)
    apart = Recorded(made.golden, made.limits, spread_lsb=7)
    assert "golden.max_lsb = 0 may refuse a healthy device" in apart.remark


def test_outputs_that_are_repeated_to_the_bit_and_depend_on_the_input_are_a_proof(
    model: bytes, prep: Preprocess, samples: Samples
):
    golden = record(model, samples, prep, GoldenPlan(samples=4)).golden
    assert problem(model, golden) == ""
    moved = GoldenSet(golden.inputs, tuple(output ^ 1 for output in golden.outputs))
    assert problem(model, moved) != ""
    still = GoldenSet(golden.inputs, tuple(np.zeros_like(output) for output in golden.outputs))
    assert "same" in problem(model, still)
