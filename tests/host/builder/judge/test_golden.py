"""Golden samples and their limits: what another device's kernels do to a model must not refuse it there."""

from collections.abc import Sequence

import numpy as np
import pytest

from skerry_agent.processing import Feeding, GoldenSet, compare_golden, parse_npz
from skerry_agent.wire.manifest import Golden, Preprocess, TensorSpec
from skerry_host.builder.build import Build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.golden import (
    Recorded,
    _limits,
    choose,
    instability,
    problem,
    record,
    replay,
)
from skerry_host.builder.recipe.recipe import GoldenPlan
from skerry_host.builder.runtime.session import Session
from tests.kit.recipes import FASHION, REAL, needs_real
from tests.kit.running_sum import running_sum
from tests.kit.several_inputs import fading_sum, waves


@pytest.fixture(scope="module")
def model(built: Build) -> bytes:
    return (built.path / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def feeding(built: Build) -> Feeding:
    return Feeding.of(built.record.bundles[0])


@pytest.fixture(scope="module")
def samples() -> Samples:
    arrays = parse_npz((FASHION / "evaluation.npz").read_bytes(), "evaluation.npz")
    return Samples.of(arrays["inputs"][:200], truth=arrays["labels"][:200])


def test_the_steadiest_samples_are_taken(model: bytes, feeding: Feeding, samples: Samples):
    plan = GoldenPlan(samples=16)
    session, other = Session(model), Session(model, default_kernels=False)
    rows = [session.tensors(samples.inputs[i], feeding) for i in choose(samples.classes, 16)]
    first = GoldenSet((np.concatenate([row[0] for row in rows]),), tuple(session.answers(rows)))
    taken = record(model, samples, feeding, plan).golden

    def worst(golden: GoldenSet) -> int:
        return max(instability(session, golden, replay(other, golden)))

    assert len(taken) == 16
    assert worst(taken) < worst(first)


def test_samples_that_devices_hold_already_are_kept_while_they_are_steady(
    model: bytes, feeding: Feeding, samples: Samples
):
    plan = GoldenPlan(samples=8)
    best = record(model, samples, feeding, plan).golden
    ranked = record(model, samples, feeding, GoldenPlan(samples=32)).golden
    steady = instability(Session(model), ranked, replay(Session(model, default_kernels=False), ranked))
    others = [i for i, cost in enumerate(steady) if cost <= Golden().max_lsb][8:16]
    earlier = GoldenSet((ranked.inputs[0][others],), (ranked.outputs[0][others],))
    known = {sample.tobytes() for sample in earlier.inputs[0]}

    def shared(golden: GoldenSet) -> int:
        return sum(sample.tobytes() in known for sample in golden.inputs[0])

    kept = record(model, samples, feeding, plan, earlier).golden
    assert shared(kept) > shared(best)
    foreign = GoldenSet((earlier.inputs[0].astype(np.float32),), earlier.outputs)
    assert np.array_equal(record(model, samples, feeding, plan, foreign).golden.inputs[0], best.inputs[0])


def test_the_cheapest_of_each_class_come_first():
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert choose(labels, 4, cost=[9, 1, 5, 7, 8, 0]) == [1, 5, 2, 3]


@needs_real
def test_a_device_with_other_kernels_passes():
    """A real uint8 model: its runtime's two sets of kernels lie further apart than a fixed limit would allow."""
    model = (REAL / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    inputs = np.random.default_rng(1).integers(0, 256, (20, 128, 128, 3), np.uint8)
    made = record(model, Samples.of(inputs), Feeding(), GoldenPlan(samples=16))
    elsewhere = replay(Session(model, default_kernels=False), made.golden)
    assert compare_golden(made.golden.outputs, elsewhere, made.limits).ok
    assert made.spread_lsb > Golden().max_lsb
    assert not made.remark


def test_limits_of_the_recipe_are_taken_as_they_are(model: bytes, feeding: Feeding, samples: Samples):
    made = record(model, samples, feeding, GoldenPlan(samples=16, max_lsb=0, min_top1=0.5))
    assert made.limits == Golden(max_lsb=0, min_top1=0.5)
    apart = Recorded(made.golden, made.limits, spread_lsb=7)
    assert "golden.max_lsb = 0 may refuse a healthy device" in apart.remark
    assert "7 steps apart" in apart.remark
    assert Recorded(made.golden, Golden(max_lsb=7), 7).remark == ""
    assert [bool(Recorded(made.golden, Golden(max_lsb=7), spread).remark) for spread in (6, 7, 8)] == [
        False,
        False,
        True,
    ]


def test_what_is_recorded_is_what_the_model_answers(model: bytes, feeding: Feeding, samples: Samples):
    made, session = record(model, samples, feeding, GoldenPlan(samples=16)), Session(model)
    (inputs,), (outputs,) = made.golden.inputs, made.golden.outputs
    assert inputs.shape == (16, *session.inputs[0].shape[1:])
    for tensor, answer in zip(inputs, outputs, strict=True):
        np.testing.assert_array_equal(session.run([tensor[None]])[0][0], answer)
    known = {
        session.tensors(sample, feeding)[0].tobytes(): label
        for sample, label in zip(samples, samples.classes, strict=True)
    }
    taken = [int(known[tensor.tobytes()]) for tensor in inputs]
    assert taken == [*range(10), *taken[10:]]  # the classes in turn
    assert taken[10:] == sorted(taken[10:])
    elsewhere = replay(Session(model, default_kernels=False), made.golden)
    assert made.spread_lsb == compare_golden((outputs,), elsewhere, Golden()).max_lsb


# What the recipe says, how far the runtime's own kernels lie apart (steps, share of answers), and a device's limits.
LIMITS = [
    (GoldenPlan(), 0, 1.0, Golden(max_lsb=3, min_top1=1.0)),
    (GoldenPlan(), 1, 1.0, Golden(max_lsb=3, min_top1=1.0)),
    (GoldenPlan(), 2, 0.9, Golden(max_lsb=4, min_top1=0.8)),
    (GoldenPlan(), 127, 0.5, Golden(max_lsb=254, min_top1=0.0)),
    (GoldenPlan(), 200, 0.25, Golden(max_lsb=255, min_top1=0.0)),
    (GoldenPlan(max_lsb=1), 9, 0.9, Golden(max_lsb=1, min_top1=0.8)),
    (GoldenPlan(min_top1=0.95), 9, 0.5, Golden(max_lsb=18, min_top1=0.95)),
]


@pytest.mark.parametrize(("plan", "spread_lsb", "top1", "limits"), LIMITS)
def test_a_device_may_stray_twice_as_far_as_the_kernels_here(plan, spread_lsb: int, top1: float, limits: Golden):
    made = _limits(plan, spread_lsb, top1)
    assert (made.max_lsb, made.min_top1) == (limits.max_lsb, pytest.approx(limits.min_top1))


class Echo:
    """Stands in for a session: answers with what it is given, and keeps it."""

    def __init__(self, inputs: np.ndarray):
        self.inputs = (TensorSpec("x", inputs.dtype.name, (1, *inputs.shape[1:])),)
        self.seen: list[np.ndarray] = []

    def answers(self, rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        self.seen += [tensor for row in rows for tensor in row]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


EDGES = np.tile(np.array([[-128, 127, 0, 5]], np.int8), (3, 8))
RAMP = np.tile(np.array([[-102.0, 408.0, 0.0, 7.0]], np.float32), (3, 8))  # a step is a 255th of its range: 2.0


@pytest.mark.parametrize(("inputs", "step"), [(EDGES, 1.0), (RAMP, 2.0)], ids=["int8", "float"])
def test_inputs_move_by_a_step_and_stay_what_they_are(inputs: np.ndarray, step: float):
    echo = Echo(inputs)
    steps = instability(echo, GoldenSet((inputs,), (inputs,)), (inputs,))
    assert len(echo.seen) == 2 * len(inputs)
    assert {tensor.dtype for tensor in echo.seen} == {inputs.dtype}
    moves = np.concatenate(echo.seen).astype(np.float64) - np.concatenate([inputs, inputs]).astype(np.float64)
    assert set(np.unique(moves)) == {-step, 0.0, step}
    assert not np.array_equal(moves[:3], moves[3:])
    assert steps == [1, 1, 1]


def test_the_farthest_move_of_a_sample_counts():
    elsewhere = EDGES.copy()
    elsewhere[1, 2] += 9
    assert instability(Echo(EDGES), GoldenSet((EDGES,), (EDGES,)), (elsewhere,)) == [1, 9, 1]
    assert instability(Echo(EDGES), GoldenSet((EDGES,), (EDGES,)), (EDGES,)) == [1, 1, 1]


def test_a_model_that_remembers_gets_the_first_samples_in_their_order():
    inputs = np.random.default_rng(3).integers(0, 99, (40, 3)).astype(np.float32)
    made = record(running_sum(3), Samples.of(inputs), Feeding(), GoldenPlan(samples=5))
    np.testing.assert_array_equal(made.golden.inputs[0], inputs[:5])
    np.testing.assert_array_equal(made.golden.outputs[0], np.cumsum(inputs[:5], axis=0))
    assert made.spread_lsb == 0


def test_outputs_that_are_repeated_to_the_bit_and_depend_on_the_input_are_a_proof(
    model: bytes, feeding: Feeding, samples: Samples
):
    golden = record(model, samples, feeding, GoldenPlan(samples=4)).golden
    assert problem(model, golden) == ""
    moved = GoldenSet(golden.inputs, tuple(output ^ 1 for output in golden.outputs))
    assert problem(model, moved) != ""
    still = GoldenSet(golden.inputs, tuple(np.zeros_like(output) for output in golden.outputs))
    assert "same" in problem(model, still)


def test_a_stream_that_begins_with_silence_is_recorded_where_something_is_in_it():
    """The first 16 samples of speech were silence, and the build was refused as showing nothing."""
    model, feeding = fading_sum(), Feeding((Preprocess(), Preprocess()), {"before": "after"})
    samples = Samples.of(waves(60)["inputs"], truth=[0] * 40 + [1] * 20)
    golden = record(model, samples, feeding, GoldenPlan(samples=4)).golden
    session, states = Session(model), []
    for sample in samples.inputs:
        states.append(session.tensors(sample, feeding)[1])
        session.run_raw(sample, feeding)
    np.testing.assert_array_equal(golden.inputs[1], np.concatenate([states[at] for at in (0, 40, 1, 41)]))
