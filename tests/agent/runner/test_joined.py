"""Outputs that a model gives in parts: applications get them in one piece, and the parts where they ask for raw."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.processing import ProcessingError, dequantize, join_outputs
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.http.messages import Request
from skerry_agent.runner.joined import Outputs
from skerry_agent.wire.manifest import Bundle, Join, TensorSpec
from tests.kit.stand_ins import MODEL, Stand, routes

INPUT = TensorSpec("x", "int8", (1, 4), 0.5, 0)
PARTS = (
    TensorSpec("first", "int8", (1, 2), 0.5, 1),
    TensorSpec("y.0-3", "int8", (1, 4, 3), 2.5, -128),
    TensorSpec("y.4-5", "int8", (1, 2, 3), 1 / 256, -128),
)
BUNDLE = Bundle("cpu", MODEL, (INPUT,), PARTS, joins=(Join("y", (1, 2), 1),))
RAW = [np.random.default_rng(0).integers(-128, 128, spec.shape, np.int8) for spec in PARTS]
REAL = [dequantize(raw, spec) for raw, spec in zip(RAW, PARTS, strict=True)]
JOINED = join_outputs(REAL, BUNDLE.joins)


class Parts(Stand):
    """In place of an `Inference`: always the same raw outputs."""

    def infer(self, _inputs):
        return list(map(from_array, RAW))


WHERE = routes(BUNDLE, inference=Parts())


def ask(datatype="FP32", **more):
    entry = {"name": "input", "shape": [1, 4], "datatype": datatype, "data": [0] * 4}
    body = json.dumps({"inputs": [entry]} | more).encode()
    response = WHERE.answer(Request("POST", "/v2/models/m/infer", {}, body))
    return response.status, json.loads(response.body)


def arrays(answer):
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer["outputs"]}


def test_real_values_are_in_one_piece_in_the_source_s_order():
    status, answer = ask()
    found = arrays(answer)
    assert (status, list(found)) == (200, ["output_0", "output_1"])
    np.testing.assert_array_equal(found["output_0"], REAL[0])
    np.testing.assert_array_equal(found["output_1"], JOINED[1].astype(np.float64))


def test_an_output_is_found_by_its_name_in_the_source_and_a_part_by_its_own():
    _status, answer = ask(outputs=[{"name": "y"}, {"name": "y.4-5"}])
    found = arrays(answer)
    np.testing.assert_array_equal(found["y"], JOINED[1].astype(np.float64))
    np.testing.assert_array_equal(found["y.4-5"], REAL[2].astype(np.float64))


def test_raw_values_are_those_of_the_parts():
    status, answer = ask("INT8", parameters={"values": "raw"})
    assert status == 200, answer
    found = arrays(answer)
    assert list(found) == ["first", "y.0-3", "y.4-5"]
    assert all((found[spec.name] == raw).all() for spec, raw in zip(PARTS, RAW, strict=True))


def test_raw_values_of_a_joined_output_are_refused_with_the_names_of_its_parts():
    status, answer = ask(outputs=[{"name": "y", "parameters": {"values": "raw"}}])
    assert status == 400
    assert answer["error"] == "output y has no raw values: the model gives it in parts, ['y.0-3', 'y.4-5']"


def test_the_metadata_has_the_source_s_outputs_and_says_which_tensors_they_are():
    response = WHERE.answer(Request("GET", "/v2/models/m", {}, b""))
    first, second = json.loads(response.body)["outputs"]
    assert (first["name"], second["name"], second["shape"]) == ("output_0", "output_1", [1, 6, 3])
    assert [part["name"] for part in second["parameters"]["raw_parts"]] == ["y.0-3", "y.4-5"]
    assert (second["parameters"]["raw_axis"], "raw" in first["parameters"]) == (1, True)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.data(),
)
def test_parts_are_joined_without_numpy_as_with_it(sizes, others, data):
    axis = data.draw(st.integers(1, len(others)))
    shapes = [(1, *others[: axis - 1], size, *others[axis - 1 :]) for size in sizes]
    specs = tuple(TensorSpec(f"p{at}", "int8", shape, 0.1 * (at + 1), at) for at, shape in enumerate(shapes))
    raw = [np.random.default_rng(at).integers(-128, 128, spec.shape, np.int8) for at, spec in enumerate(specs)]
    bundle = Bundle("cpu", MODEL, (INPUT,), specs, joins=(Join("y", tuple(range(len(sizes))), axis),))
    (expected,) = join_outputs([dequantize(one, spec) for one, spec in zip(raw, specs, strict=True)], bundle.joins)
    outputs = Outputs(bundle)
    (place,) = outputs.whole
    found = outputs.real(list(map(from_array, raw)), place)
    assert found.shape == outputs.specs[place].shape == expected.shape
    np.testing.assert_array_equal(to_array(found), expected)


@pytest.mark.parametrize("parts", [(0, 7), (0, 1)])
def test_parts_that_do_not_fit_are_refused_in_one_line(parts):
    with pytest.raises(ProcessingError, match="output y cannot be joined from its parts"):
        join_outputs(REAL, (Join("y", parts, 1),))
