"""What an inference is counted as: real load, golden inputs, invalid, positive; and golden answers in service."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import compare_golden, postprocess
from skerry_agent.runner.arrays import from_array
from skerry_agent.runner.engines.base import About
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.exercise import ExercisePlan, GoldenExercise, blank_samples
from skerry_agent.runner.golden import Column, GoldenSamples, float_steps, reproduces
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.positives import LARGE, judge_of
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import Baseline, Bundle, Golden, Postprocess, TensorSpec

FLOATS = TensorSpec("x", "float32", (1, 2))


class Echo:
    """Stands in for an engine: answers with what it is given, or with what `answer` makes of it."""

    about = About("echo", "1")

    def __init__(self, answer=lambda inputs: inputs):
        self._answer = answer

    def infer(self, inputs):
        return self._answer(inputs)


def inference(answer=lambda inputs: inputs, **bundle) -> Inference:
    made = Bundle("cpu", (), (FLOATS,), (FLOATS,), **bundle)
    return Inference(Echo(answer), made)


def floats(*values: float) -> Tensor:
    return Tensor("float32", (1, len(values)), struct.pack(f"<{len(values)}f", *values))


def test_golden_inputs_are_in_no_figure_of_real_load():
    model = inference(task="classification")
    model.infer([floats(1, 2)])
    for _ in range(3):
        model.exercise([floats(2, 1)])
    model.answered_wrong()
    counts = model.take()
    assert (counts.inferences, counts.latency.count, counts.outputs) == (1, 1, {"1": 1})
    done = counts.exercised
    assert (done.inferences, done.errors, done.wrong, done.latency.count) == (3, 0, 1, 3)
    assert model.take().exercised is None


def test_a_golden_input_without_an_answer_is_no_error_of_real_load():
    def fail(_inputs):
        raise InferenceError("no")

    model = inference(fail)
    with pytest.raises(InferenceError):
        model.exercise([floats(1, 2)])
    counts = model.take()
    assert (counts.errors, counts.exercised.errors) == (0, 1)


@pytest.mark.parametrize(("sent", "invalid"), [((1.0, 2.0), 1), ((float("nan"), 2.0), 0), ((float("inf"), 0.0), 0)])
def test_an_output_is_invalid_only_where_no_input_was(sent, invalid):
    """A client that sends NaN gets NaN, and the release was failed for it."""
    model = inference(lambda _inputs: [floats(float("nan"), 0)])
    model.infer([floats(*sent)])
    assert model.take().invalid_outputs == invalid


# -- positive answers --------------------------------------------------------------------------------------------------


def test_a_classifier_is_judged_by_its_declared_negative_class_alone():
    with_class = inference(task="classification", baseline=Baseline(0.5, 10, negative=0))
    without = inference(task="classification", baseline=Baseline(0.5, 10))
    for model in (with_class, without):
        for sent in ((9, 1), (1, 9), (1, 9)):
            model.infer([floats(*sent)])
    counts, nothing = with_class.take(), without.take()
    assert (counts.judged, counts.positives) == (3, 2)
    assert (nothing.judged, nothing.positives) == (0, 0)


def test_an_exercise_is_never_judged():
    model = inference(task="classification", baseline=Baseline(0.5, 10, negative=0))
    model.exercise([floats(1, 9)])
    assert model.take().judged == 0


def detector(dtype: str, spec: Postprocess, boxes: int, scale: float = 1 / 256, zero: int = 0) -> Bundle:
    per_box = 2
    outputs = (
        TensorSpec("boxes", "float32", (1, boxes, 4)),
        TensorSpec("scores", dtype, (1, boxes, per_box), 0.0 if dtype == "float32" else scale, zero),
    )
    return Bundle("cpu", (), (FLOATS,), outputs, task="detection", postprocess=spec)


@given(
    dtype=st.sampled_from(["int8", "uint8", "float32"]),
    activation=st.sampled_from(["none", "sigmoid"]),
    min_score=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 999),
)
def test_a_detectors_answer_is_positive_exactly_where_there_is_a_box(dtype, activation, min_score, seed):
    """Held against the real postprocessing, which makes the boxes."""
    spec = Postprocess(activation=activation, min_score=min_score)
    zero = {"int8": -128, "uint8": 0, "float32": 0}[dtype]
    scale = 1 / 256 if activation == "none" else 8 / 256
    bundle = detector(dtype, spec, 5, scale, zero + 128 if activation == "sigmoid" and dtype != "float32" else zero)
    rng = np.random.default_rng(seed)
    raw = rng.random((1, 5, 2)) ** rng.integers(1, 9)
    scores = (raw * 4 - 2 if activation == "sigmoid" else raw).astype(np.float32)
    if dtype != "float32":
        info = np.iinfo(dtype)
        scores = rng.integers(info.min, info.max, (1, 5, 2), dtype, endpoint=True)
    boxes = rng.random((1, 5, 4)).astype(np.float32)
    found = postprocess([boxes, scores], bundle.outputs, "detection", spec).found
    judged = judge_of(bundle)([from_array(boxes), from_array(scores)], -1)
    assert judged == bool(found)


UNJUDGED = {
    "softmax": detector("float32", Postprocess(activation="softmax"), 5),
    "half floats": detector("float16", Postprocess(), 5),
    "too many floats": detector("float32", Postprocess(), 200_000),
    "no such output": detector("int8", Postprocess(scores=7), 5),
    "raw": Bundle("cpu", (), (FLOATS,), (FLOATS,)),
    "embedding": Bundle("cpu", (), (FLOATS,), (FLOATS,), task="embedding"),
}


@pytest.mark.parametrize("bundle", UNJUDGED.values(), ids=UNJUDGED)
def test_what_cannot_be_told_cheaply_is_not_judged(bundle):
    assert judge_of(bundle) is None


def test_large_outputs_are_looked_at_once_a_second():
    now = SimpleNamespace(s=100.0)
    boxes = LARGE
    judge = judge_of(detector("int8", Postprocess(), boxes), lambda: now.s)
    outputs = [None, Tensor("int8", (1, boxes, 2), b"\x7f" * 2 * boxes)]
    judged = []
    for now.s in (100.0, 100.5, 100.9, 101.1):
        judged.append(judge(outputs, -1))
    assert judged == [False, None, None, False]  # 127 / 256 is under one half


# -- golden answers in service -----------------------------------------------------------------------------------------


def golden(*outputs: np.ndarray) -> GoldenSamples:
    columns = [Column(a.dtype.name, a.shape[1:], tuple(memoryview(row.tobytes()) for row in a)) for a in outputs]
    return GoldenSamples((columns[0],), tuple(columns))


@given(
    dtype=st.sampled_from(["int8", "float32"]),
    limits=st.builds(Golden, max_lsb=st.integers(0, 9), min_top1=st.sampled_from([1.0, 0.9])),
    seed=st.integers(0, 999),
)
def test_a_sample_is_reproduced_as_the_whole_set_would_be(dtype, limits, seed):
    """As `compare_golden` says of all samples, where only one of them differs; top-1 counts where all must agree."""
    rng = np.random.default_rng(seed)
    recorded = rng.integers(-50, 50, (4, 3)).astype(dtype)
    got = recorded.copy()
    got[2] += rng.integers(-3, 4, 3).astype(dtype)
    made = golden(recorded)
    here = reproduces(made, 2, [from_array(got[2:3])], limits, float_steps(made))
    whole = compare_golden((recorded,), (got,), limits)
    assert here == (whole.max_lsb <= limits.max_lsb and (limits.min_top1 < 1 or whole.top1 == 1))


@pytest.mark.parametrize("remembers", [False, True])
def test_a_model_that_remembers_is_exercised_only_until_other_load_comes(remembers):
    model = inference()
    samples = blank_samples(model)
    plan = ExercisePlan(1000.0, remembers=remembers)
    stop = Stop(at=[(3, lambda: model.infer([floats(1, 2)])), (9, None)])
    GoldenExercise(samples, model, plan).run(stop)
    done = model.take().exercised.inferences
    assert done == (3 if remembers else 8)


class Stop:
    """An event that is asked before each tick: does something at some ticks, and is set at the last."""

    def __init__(self, at):
        self._at, self._asked, self._set = dict(at), 0, False

    def set(self):
        self._set = True

    def wait(self, _seconds):
        self._asked += 1
        if self._asked - 1 in self._at:
            then = self._at[self._asked - 1]
            if then is None:
                return True
            then()
        return self._set
