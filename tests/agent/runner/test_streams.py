"""States of streams: what is fed back, when a stream begins anew, and how many are kept."""

import numpy as np
import pytest

from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.streams import MAX_BYTES, MAX_STREAMS, States, Streams, blank
from skerry_agent.wire.manifest import Bundle, TensorSpec

INPUTS = (TensorSpec("x", "int8", (1, 2), 0.5, 0), TensorSpec("before", "int8", (1, 2), 0.5, 7))
OUTPUTS = (TensorSpec("y", "int8", (1, 2), 0.5, 0), TensorSpec("after", "int8", (1, 2), 0.25, 7))
BUNDLE = Bundle("cpu", (), INPUTS, OUTPUTS, feedback={"before": "after"})


class Sum:
    """A model that answers with x and with the real sum of x and its state; keeps the states that it was given."""

    def __init__(self):
        self.seen, self.fails = [], False

    def __call__(self, inputs):
        x, before = (to_array(tensor).astype(float) for tensor in inputs)
        self.seen.append(((before - 7) * 0.5).tolist())
        if self.fails:
            raise InferenceError("no")
        after = x * 0.5 + (before - 7) * 0.5
        return [inputs[0], from_array((after / 0.25 + 7).astype(np.int8))]


def x(value: int):
    return [from_array(np.full((1, 2), value, np.int8))]


def test_a_state_keeps_its_real_value_where_output_and_input_have_other_scales():
    model, states = Sum(), States(BUNDLE)
    for _ in range(3):
        states.infer(x(4), model)
    assert model.seen == [[[0, 0]], [[2, 2]], [[4, 4]]]


def test_a_stream_begins_anew_after_a_failure_and_when_that_is_said():
    model, states = Sum(), States(BUNDLE)
    states.infer(x(4), model)
    model.fails = True
    with pytest.raises(InferenceError):
        states.infer(x(4), model)
    model.fails = False
    states.infer(x(4), model)
    states.infer(x(4), model)
    states.restart()
    states.infer(x(4), model)
    assert model.seen == [[[0, 0]], [[2, 2]], [[0, 0]], [[2, 2]], [[0, 0]]]


def test_the_stream_that_was_quiet_for_longest_is_forgotten():
    model, streams = Sum(), Streams(BUNDLE)
    for number in range(MAX_STREAMS):
        streams.infer(f"s{number}", [x(2)], model)
    streams.infer("s0", [x(2)], model)
    streams.infer("new", [x(2)], model)
    assert streams.known("s0")
    assert not streams.known("s1")
    streams.end("s0")
    assert not streams.known("s0")


def test_a_stream_without_a_name_is_not_kept():
    model, streams = Sum(), Streams(BUNDLE)
    streams.infer("", [x(4), x(4)], model)
    streams.infer("", [x(4)], model)
    assert model.seen == [[[0, 0]], [[2, 2]], [[0, 0]]]


def test_zero_is_the_zero_of_the_scale():
    assert to_array(blank(INPUTS[1])).tolist() == [[7, 7]]
    assert to_array(blank(TensorSpec("s", "float32", (2, 1)))).tolist() == [[0], [0]]


def test_states_that_are_no_numbers_end_a_stream_and_not_all_that_comes_after():
    """A float state of infinity would make every answer after it one, for as long as the device runs."""
    specs = TensorSpec("x", "float32", (1, 1)), TensorSpec("before", "float32", (1, 1))
    bundle = Bundle("cpu", (), specs, (TensorSpec("after", "float32", (1, 1)),), feedback={"before": "after"})
    states = States(bundle)

    def add(inputs):
        with np.errstate(over="ignore"):
            return [from_array(to_array(inputs[0]) + to_array(inputs[1]))]

    given = [[from_array(np.array([[value]], np.float32))] for value in (3e38, 3e38, 1, 2)]
    found = [float(to_array(states.infer(one, add)[0])[0, 0]) for one in given]
    assert found == [pytest.approx(3e38), float("inf"), 1, 3]


def test_large_states_are_kept_for_fewer_streams():
    specs = TensorSpec("x", "float32", (1, 1)), TensorSpec("before", "float32", (1, MAX_BYTES // 12))
    bundle = Bundle("cpu", (), specs, (TensorSpec("after", "float32", specs[1].shape),), feedback={"before": "after"})
    assert (Streams(bundle).most, Streams(BUNDLE).most) == (3, MAX_STREAMS)
