"""Whose fault a failed inference is: the model's, or an input's that lies far from all that the model was proved on."""

import contextlib
import json
import struct

import pytest

from skerry_agent.runner.engines.base import About
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.golden import Column, GoldenSamples
from skerry_agent.runner.http.messages import Request
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.tensor import FORMATS, Tensor
from skerry_agent.runner.usual import UsualInputs
from skerry_agent.wire.manifest import Bundle, TensorSpec
from tests.kit.stand_ins import MODEL, routes


def tensor(dtype, *values):
    return Tensor(dtype, (1, len(values)), struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values))


def golden(dtype, *rows):
    data = tuple(memoryview(tensor(dtype, *row).data) for row in rows)
    return GoldenSamples((Column(dtype, (len(rows[0]),), data),), ())


@pytest.mark.parametrize(
    ("dtype", "rows", "value", "outside"),
    [
        ("float32", [(0.0, 1.0), (0.5, -2.0)], 19.0, False),
        ("float32", [(0.0, 1.0), (0.5, -2.0)], -21.0, True),
        ("float32", [(0.0, 1.0), (0.5, -2.0)], 3e38, True),
        ("int32", [(0, 7), (3, 30_000)], 29_999, False),
        ("int32", [(0, 7), (3, 30_000)], 999_999, True),
        ("int32", [(0, 7), (3, 30_000)], -1, True),
        ("uint8", [(0, 7)], 255, False),
        ("int8", [(0, 7)], -128, False),
    ],
)
def test_an_input_is_unusual_where_it_is_far_from_every_golden_one(dtype, rows, value, outside):
    usual = UsualInputs(golden(dtype, *rows))
    assert usual.outside([tensor(dtype, 0, value)]) is outside


def test_without_golden_inputs_only_floats_beyond_all_sensors_are_unusual():
    assert not UsualInputs().outside([tensor("float32", 1e5), tensor("int64", 2**60)])
    assert UsualInputs().outside([tensor("int64", 0), tensor("float32", 1e7)])


class Failing:
    """An engine that gives infinity for a large input, and fails for a larger one."""

    about = About("failing", "1", "")

    def infer(self, inputs):
        (value,) = inputs[0].values()
        if abs(value) > 1e30:
            raise EngineError("index out of range")
        return [tensor("float32", float("inf") if abs(value) > 5 else value)]


@pytest.mark.parametrize(
    ("value", "counted"),
    [(1.0, (1, 0, 0, 0)), (6.0, (1, 0, 1, 0)), (1e6, (1, 0, 0, 1)), (1e31, (0, 0, 0, 1)), (2.0, (1, 0, 0, 0))],
)
def test_what_nonsense_leads_to_is_counted_as_an_input_error(value, counted):
    """6.0 is usual, so that infinity is the model's own fault; for 1e6 no release is rolled back."""
    specs = (TensorSpec("x", "float32", (1, 1)),)
    inference = Inference(Failing(), Bundle("cpu", (), specs, specs, task="raw"))
    inference.usual = UsualInputs(golden("float32", (1.0,)))
    with contextlib.suppress(InferenceError):
        inference.infer([tensor("float32", value)])
    found = inference.take()
    assert (found.inferences, found.errors, found.invalid_outputs, found.input_errors) == counted


def test_a_client_is_told_that_it_is_its_input_and_which():
    """Not only that a runtime ended with some status, as if the device were broken."""
    specs = (TensorSpec("ids", "float32", (1, 1)),)
    inference = Inference(Failing(), Bundle("cpu", (), specs, specs, task="raw"))
    inference.usual = UsualInputs(golden("float32", (1.0,)))
    where = routes(Bundle("cpu", MODEL, specs, specs, task="raw"), inference=inference)
    entry = {"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [1e31]}
    response = where.answer(Request("POST", "/v2/models/m/infer", {}, json.dumps({"inputs": [entry]}).encode()))
    assert response.status == 400
    assert json.loads(response.body)["error"] == (
        "index out of range: input ids holds values far from all that the release was proven with"
    )
