"""Answers of models with several inputs or outputs: which input is the picture, and which output has the classes."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.runner.arrays import from_array
from skerry_agent.runner.errors import UnfitError
from skerry_agent.runner.http.messages import Request
from skerry_agent.runner.validation import check_ends
from skerry_agent.wire.manifest import Bundle, Join, Postprocess, Preprocess, TensorSpec
from tests.kit.stand_ins import MODEL, Boxes, Halves, Sum, detector, routes, segmenter

VECTOR = TensorSpec("v", "int8", (1, 2), 0.5, 0)
MAPS = TensorSpec("s", "int8", (1, 4, 4, 2), 0.5, 0)


def ask(where, inputs, **more):
    entries = [
        {"name": name, "shape": array.shape, "datatype": {"u": "UINT8", "f": "FP32"}[array.dtype.kind],
         "data": array.reshape(-1).tolist()}
        for name, array in inputs.items()
    ]  # fmt: skip
    response = where.answer(Request("POST", "/v2/models/m/infer", {}, json.dumps({"inputs": entries} | more).encode()))
    return response.status, json.loads(response.body)


def behind(made: Bundle, first: TensorSpec, **more) -> Bundle:
    """With an input before the picture."""
    return Bundle(
        made.target,
        made.artifacts,
        (first, *made.inputs),
        made.outputs,
        made.task,
        Preprocess(),
        made.postprocess,
        preprocesses=(made.preprocess,),
        **more,
    )


WIDE = np.zeros((4, 8, 3), np.uint8)


@pytest.mark.parametrize("first", [VECTOR, TensorSpec("v", "int8", (2, 3, 4), 0.5, 0)], ids=["vector", "three axes"])
def test_boxes_lie_in_the_picture_that_was_sent_wherever_it_is_among_the_inputs(first):
    where = routes(behind(detector(), first), inference=Boxes())
    vector = np.zeros(first.shape, np.float32)
    asked = {"outputs": [{"name": "detections"}]}
    _status, alone = ask(routes(detector(), inference=Boxes()), {"input": WIDE}, **asked)
    status, answer = ask(where, {"v": vector, "x": WIDE}, **asked)
    assert status == 200, answer
    assert answer["outputs"] == alone["outputs"]


def test_a_mask_lies_in_the_picture_and_not_in_maps_that_are_fed_back():
    """The picture is in the upper half of the input, where all is of the first class."""
    made = segmenter()
    outputs = (*made.outputs, TensorSpec("after", "int8", MAPS.shape, 0.5, 0))
    made = Bundle("cpu", MODEL, made.inputs, outputs, made.task, replace(made.preprocess, align="start"))
    where = routes(behind(made, MAPS, feedback={"s": "after"}), inference=WithState())
    status, answer = ask(where, {"x": WIDE}, outputs=[{"name": "mask"}])
    assert status == 200, answer
    assert (answer["outputs"][0]["shape"], set(answer["outputs"][0]["data"])) == ([4, 8], {0})


class WithState(Halves):
    """In place of an `Inference` that gives a state behind its maps."""

    def infer(self, inputs):
        return [*super().infer(inputs), inputs[0]]


class Two(Sum):
    """In place of an `Inference` with two outputs of one size."""

    def infer(self, inputs):
        return [inputs[0], inputs[0]]


def test_labels_are_those_of_the_output_that_has_the_classes():
    three = TensorSpec("x", "int8", (1, 3), 0.5, 0)
    outputs = (TensorSpec("other", "int8", (1, 3), 0.5, 0), TensorSpec("classes", "int8", (1, 3), 0.5, 0))
    made = Bundle("cpu", MODEL, (three,), outputs, "classification", postprocess=Postprocess("classes", output=1))
    where = routes(made, inference=Two())
    best = [{"name": name, "parameters": {"classification": 1}} for name in ("other", "classes")]
    _status, answer = ask(where, {"input": np.array([[0, 1, 0]], np.float32)}, outputs=best)
    assert [one["data"] for one in answer["outputs"]] == [["1.000000:1"], ["1.000000:1:green"]]
    metadata = json.loads(where.answer(Request("GET", "/v2/models/m", {}, b"")).body)
    assert [one["parameters"].get("classification") for one in metadata["outputs"]] == [None, True]


class SlowState(Sum):
    """In place of an `Inference` that answers with its state, and takes longer than a batch may."""

    def infer(self, inputs):
        return [inputs[0]]


def test_a_batch_of_a_stream_has_a_time_limit_as_any_other():
    other = TensorSpec("s", "int8", (1, 2), 0.5, 0)
    after = (TensorSpec("after", "int8", (1, 2), 0.5, 0),)
    where = routes(Bundle("cpu", MODEL, (VECTOR, other), after, feedback={"s": "after"}), inference=SlowState())
    where.batch_ns = 0
    status, answer = ask(where, {"v": np.zeros((9, 2), np.float32)})
    assert (status, answer["error"]) == (503, "1 of 9 samples took 0 s: send fewer in one request")
    assert ask(where, {"v": np.zeros((1, 2), np.float32)})[0] == 200


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"feedback": {"v": "nothing"}}, "feeds nothing back to v"),
        ({"feedback": {"s": "v"}}, "another size"),
        ({"feedback": {"v": "v", "s": "s"}}, "feeds back every input"),
        ({"joins": (Join("y", (0, 7), 1),)}, "joins y from outputs"),
        ({"joins": (Join("y", (0, 1), 1),)}, "do not fit together"),
        ({"joins": (Join("y", (0, 0), 5),)}, "do not fit together"),
    ],
)
def test_a_bundle_that_cannot_be_is_refused_in_one_line(more, why):
    """It would be a traceback in a runner's first answer."""
    with pytest.raises(UnfitError, match=why):
        check_ends(Bundle("cpu", MODEL, (VECTOR, MAPS), (VECTOR, MAPS), **more))


class Short(Sum):
    """In place of an `Inference` whose boxes have no fourth number."""

    def infer(self, _inputs):
        return [from_array(np.zeros((1, 2, 3), np.float32)), from_array(np.zeros((1, 2, 3), np.int8))]


@pytest.mark.parametrize("name", ["detections", "detection_labels", "answer"])
@pytest.mark.parametrize("decoder", ["decoded", "boxes", "yolo", "anchors"])
def test_outputs_that_mean_nothing_are_an_answer_of_one_line(name, decoder):
    made = replace(detector(), postprocess=Postprocess(decoder))
    status, answer = ask(routes(made, inference=Short()), {"input": WIDE}, outputs=[{"name": name}])
    assert status == 500
    assert answer["error"].startswith(f"output {name}: ")
    assert "\n" not in answer["error"]
