"""The contract of applications (docs/applications.md): one request means the same whatever the model's integers are.

The models here are stand-ins that compute each channel's mean, in the integers of their target.
"""

import json
import struct
import time

import numpy as np
import pytest

from skerry_agent.processing import dequantize, quantize
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.http.messages import Request
from skerry_agent.wire.manifest import Bundle, TensorSpec
from tests.kit.stand_ins import (
    MODEL,
    PREP,
    TARGETS,
    Boxes,
    Doubled,
    Halves,
    Means,
    Sum,
    bundle,
    detector,
    no_batch,
    routes,
    segmenter,
    two_inputs,
)


def ask(where, inputs, path="/v2/models/m/infer", **more):
    response = where.answer(Request("POST", path, {}, json.dumps({"inputs": inputs} | more).encode()))
    return response.status, json.loads(response.body)


def tensor(array, datatype, name="input", **parameters):
    array = np.asarray(array)
    entry = {"name": name, "shape": array.shape, "datatype": datatype, "data": array.reshape(-1).tolist()}
    return entry | ({"parameters": parameters} if parameters else {})


def picture(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def means(answer):
    (output,) = answer["outputs"]
    assert output["datatype"] == "FP32"
    return np.array(output["data"]).reshape(output["shape"])


@pytest.mark.parametrize("target", TARGETS)
def test_a_picture_gets_the_same_answer_from_each_target(target):
    raw = picture(8, 8, 3)
    expected = raw.mean(axis=(0, 1)) / 127.5 - 1
    where = routes(bundle(target))
    for sent in (tensor(raw, "UINT8"), tensor(raw[np.newaxis], "UINT8"), tensor(raw, "FP32"), tensor(raw, "INT32")):
        status, answer = ask(where, [sent])
        assert status == 200, answer
        assert answer["outputs"][0]["name"] == "output"
        assert answer["model_version"] == "1.2.3"
        np.testing.assert_allclose(means(answer), [expected], atol=0.02)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("shape", "rows"),
    [((30, 20, 3), 1), ((1, 30, 20, 3), 1), ((2, 5, 9, 3), 2), ((30, 20, 4), 1), ((30, 20), 1), ((1, 30, 20), 1)],
)
def test_pictures_of_any_size_several_at_a_time_grey_or_with_alpha(target, shape, rows):
    raw = picture(*shape)
    status, answer = ask(routes(bundle(target)), [tensor(raw, "UINT8")])
    assert status == 200, answer
    got = means(answer)
    assert got.shape == (rows, 3)
    if rows == 2:
        np.testing.assert_allclose(got, raw.mean(axis=(1, 2)) / 127.5 - 1, atol=0.1)


@pytest.mark.parametrize("target", TARGETS)
def test_real_values_are_the_models_input_after_preprocessing(target):
    made = bundle(target)
    real = np.random.default_rng(2).uniform(-1, 1, made.inputs[0].shape).astype(np.float32)
    axes = (2, 3) if target == "onnx" else (1, 2)
    for more in ({"parameters": {"values": "real"}}, {}):
        sent = tensor(real, "FP32", **({} if more else {"values": "real"}))
        status, answer = ask(routes(made), [sent], **more)
        assert status == 200, answer
        np.testing.assert_allclose(means(answer), real.mean(axis=axes), atol=0.02)


@pytest.mark.parametrize("target", TARGETS)
def test_raw_tensors_are_given_by_an_explicit_parameter_and_are_what_the_model_gives(target):
    made = bundle(target)
    spec, output = made.inputs[0], made.outputs[0]
    array = quantize(np.random.default_rng(2).uniform(-1, 1, spec.shape), spec)
    datatype = {"int8": "INT8", "uint8": "UINT8", "int16": "INT16", "float32": "FP32"}
    sent = tensor(array, datatype[spec.dtype], spec.name)
    status, answer = ask(routes(made), [sent], parameters={"values": "raw"})
    assert status == 200, answer
    (got,) = answer["outputs"]
    assert (got["name"], got["datatype"]) == (output.name, datatype[output.dtype])
    expected = Means(made).infer([from_array(array)])[0]
    np.testing.assert_allclose(got["data"], list(expected.values()), rtol=1e-6)
    real = ask(
        routes(made),
        [sent | {"parameters": {"values": "raw"}}],
        outputs=[{"name": "output", "parameters": {"values": "real"}}],
    )
    np.testing.assert_allclose(means(real[1])[0], dequantize(to_array(expected), output)[0], rtol=1e-6)


def test_an_application_of_before_that_sends_int8_by_hand_gets_int8():
    made = bundle("int8")
    array = np.full((1, 8, 8, 3), -7, np.int8)
    for name, answered in (("serving_default_x:0", "Identity"), ("input", "output")):
        status, answer = ask(routes(made), [tensor(array, "INT8", name)])
        assert status == 200
        assert answer["outputs"] == [{"name": answered, "datatype": "INT8", "shape": [1, 3], "data": [-7] * 3}]


def test_int8_is_never_taken_for_pixels_unless_a_client_says_so():
    array = np.full((1, 8, 8, 3), 7, np.int8)
    status, answer = ask(routes(bundle("onnx")), [tensor(array, "INT8")])
    assert (status, "is FP32, not INT8" in answer["error"]) == (400, True)
    assert "\n" not in answer["error"]
    status, answer = ask(routes(bundle("onnx")), [tensor(array, "INT8", values="sample")])
    np.testing.assert_allclose(means(answer), 7 / 127.5 - 1, atol=0.01)


def test_uint8_of_the_models_own_form_is_a_picture_and_raw_only_where_it_is_said():
    """The integers of `other uint8` are not those of pixels, so the two meanings differ."""
    made, array = bundle("other uint8"), np.full((1, 8, 8, 3), 255, np.uint8)
    np.testing.assert_allclose(means(ask(routes(made), [tensor(array, "UINT8")])[1]), 1.0, atol=0.01)
    raw = ask(routes(made), [tensor(array, "UINT8", values="raw")])[1]["outputs"][0]
    assert (raw["datatype"], raw["data"][0]) == ("UINT8", 255)  # 1.35, as far as the output's integers go
    always = ask(routes(made, values="raw"), [tensor(array, "UINT8")])[1]["outputs"][0]
    assert always["data"] == raw["data"]


def test_integers_that_are_not_quantized_are_taken_and_given_as_they_are():
    spec = TensorSpec("words", "int32", (1, 3))
    made = Bundle("cpu", MODEL, (spec,), (TensorSpec("y", "int32", (1, 3)),))
    for shape in ((3,), (1, 3)):
        (got,) = ask(routes(made, inference=Doubled()), [tensor(np.reshape([1, 2, 2**20], shape), "INT32")])[1][
            "outputs"
        ]
        assert (got["datatype"], got["data"]) == ("INT32", [2, 4, 2**21])
    status, answer = ask(routes(made, inference=Doubled()), [tensor([1.0, 2.0, 3.0], "FP32")])
    assert (status, "is INT32, not FP32" in answer["error"]) == (400, True)


def test_a_model_without_a_batch_takes_its_own_shape_only():
    made = no_batch()
    (got,) = ask(routes(made, inference=Doubled()), [tensor([0.5, 1, 2, 3], "FP32")])[1]["outputs"]
    assert (got["shape"], got["data"]) == ([4], [1, 2, 4, 6])
    status, answer = ask(routes(made, inference=Doubled()), [tensor(np.zeros((2, 4)), "FP32")])
    assert (status, "has shape [4], not [2, 4]" in answer["error"]) == (400, True)


def test_what_an_error_quotes_of_a_request_is_one_short_line():
    for sent in ({"name": "a\nb\x1b[2J" * 99}, {"datatype": "FP\n32\x07"}, {"parameters": {"values": "\x1b" * 99}}):
        entry = tensor(picture(8, 8, 3), "UINT8") | sent
        status, answer = ask(routes(bundle("int8")), [entry], outputs=[{"name": "q\nr\u2028s"}])
        assert (status, answer["error"].isprintable()) == (400, True)
        assert len(answer["error"]) <= 500
    status, answer = ask(routes(bundle("int8")), [tensor(picture(8, 8, 3), "UINT8")], outputs=[{"name": "q\nr"}])
    assert answer["error"].startswith("no output q r; the model gives")


class Slow(Means):
    """A stand-in that takes its time."""

    def infer(self, inputs):
        time.sleep(0.01)
        return super().infer(inputs)


def test_a_batch_that_takes_longer_than_a_takeover_waits_is_ended_with_a_reason():
    where = routes(bundle("int8"), inference=Slow(bundle("int8")))
    where.batch_ns = 1_000_000
    status, answer = ask(where, [tensor(picture(9, 8, 8, 3), "UINT8")])
    assert (status, answer["error"]) == (503, "1 of 9 samples took 0.001 s: send fewer in one request")
    assert ask(where, [tensor(picture(8, 8, 3), "UINT8")])[0] == 200


BAD = {
    "planes": (tensor(np.zeros((1, 3, 8, 8)), "FP32"), '"values": "real"'),
    "planes without a batch": (
        tensor(np.zeros((3, 30, 20)), "FP32"),
        "takes pictures of shape [height, width, channels]",
    ),
    "two channels": (tensor(np.zeros((30, 20, 2)), "UINT8"), "takes pictures"),
    "nothing": (tensor(np.zeros((0, 8, 8, 3)), "UINT8"), "holds nothing"),
    "negative": ({"name": "input", "shape": [-1, 8, 8, 3], "datatype": "UINT8", "data": []}, "holds nothing"),
    "too many": ({"name": "input", "shape": [300, 8, 8, 3], "datatype": "UINT8", "data": []}, "at most 256"),
    "elongated": (tensor(np.zeros((1, 500, 3)), "UINT8"), "too elongated"),
    "too wide": ({"name": "input", "shape": [9000, 9000, 3], "datatype": "UINT8", "data": []}, "too large"),
    "text": ({"name": "input", "shape": [1], "datatype": "BYTES", "data": ["x"]}, "encoded pictures are not read"),
    "unknown datatype": (tensor(np.zeros((8, 8, 3)), "BF16"), "is FP32, not BF16"),
    "NaN": ({"name": "input", "shape": [8, 8, 3], "datatype": "FP32", "data": [1e300] * 192}, "infinity"),
    "negative pixels": (tensor(np.full((8, 8, 3), -1), "UINT8"), "outside 0..255"),
    "fractions as pixels": (tensor(np.full((8, 8, 3), 0.5), "UINT8"), "not of UINT8"),
    "unknown values": (tensor(picture(8, 8, 3), "UINT8", values="pixels"), "one of sample, real, raw"),
    "unhashable values": (tensor(picture(8, 8, 3), "UINT8", values=[]), "one of sample, real, raw"),
    "real of another shape": (tensor(np.zeros((1, 9, 9, 3)), "FP32", values="real"), "not [1, 9, 9, 3]"),
    "real integers": (tensor(np.zeros((1, 8, 8, 3), int), "INT32", values="real"), "is FP32, not INT32"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_in_one_line_that_says_what_does(case):
    sent, words = BAD[case]
    for target in ("int8", "onnx"):
        made = bundle(target)
        if case == "planes" and target == "int8":
            continue
        inference = Means(made)
        status, answer = ask(routes(made, inference=inference), [sent])
        assert (status, words in answer["error"]) == (400, True), answer
        assert "\n" not in answer["error"]
        assert inference.calls == 0


def test_values_that_overflow_after_preprocessing_are_the_clients_fault():
    made = bundle("onnx", scale=1e30)
    status, answer = ask(routes(made), [tensor(np.full((8, 8, 3), 1e20), "FP32")])
    assert (status, "beyond FP32 after preprocessing" in answer["error"]) == (400, True)


def test_the_best_classes_come_with_labels_for_each_row():
    raw = np.stack([np.full((8, 8, 3), [10, 200, 90]), np.full((8, 8, 3), [250, 0, 90])]).astype(np.uint8)
    outputs = [{"name": "output", "parameters": {"classification": 2}}]
    for target in TARGETS:
        (got,) = ask(routes(bundle(target)), [tensor(raw, "UINT8")], outputs=outputs)[1]["outputs"]
        assert (got["datatype"], got["shape"]) == ("BYTES", [2, 2])
        assert [text.partition(":")[2] for text in got["data"]] == ["1:green", "2:blue", "0:red", "2:blue"]
        assert float(got["data"][0].partition(":")[0]) == pytest.approx(200 / 127.5 - 1, abs=0.02)


def test_of_equal_scores_the_first_is_the_best_and_more_than_there_are_is_all():
    outputs = [{"name": "output", "parameters": {"classification": 9}}]
    (got,) = ask(routes(bundle("int8")), [tensor(np.zeros((8, 8, 3), int), "UINT8")], outputs=outputs)[1]["outputs"]
    assert [text.split(":")[2] for text in got["data"]] == ["red", "green", "blue"]


def test_strings_in_binary_have_their_length_before_them():
    body = {"inputs": [tensor(picture(8, 8, 3), "UINT8")]}
    body["outputs"] = [{"name": "output", "parameters": {"classification": 1, "binary_data": True}}]
    response = routes(bundle("int8")).answer(Request("POST", "/v2/models/m/infer", {}, json.dumps(body).encode()))
    size = int(dict(response.headers)["inference-header-content-length"])
    (entry,), data = json.loads(response.body[:size])["outputs"], response.body[size:]
    assert entry["parameters"]["binary_data_size"] == len(data)
    assert struct.unpack_from("<I", data)[0] == len(data) - 4


def test_boxes_of_a_letterboxed_picture_are_in_the_picture_that_was_sent():
    where = routes(detector(), inference=Boxes())
    outputs = [{"name": "detections"}, {"name": "detection_labels"}]
    found, labels = ask(where, [tensor(picture(40, 80, 3), "UINT8")], outputs=outputs)[1]["outputs"]
    assert (found["datatype"], found["shape"], labels["data"]) == ("FP32", [1, 6], ["red"])
    np.testing.assert_allclose(
        found["data"], [0.0, 0.0, 1.0, 0.5, 0.9, 0.0], atol=1e-6
    )  # the bars above and below are gone
    found = ask(where, [tensor(picture(8, 8, 3), "UINT8")], outputs=outputs[:1])[1]["outputs"][0]
    np.testing.assert_allclose(found["data"][:4], [0.25, 0.0, 0.75, 0.5], atol=1e-6)
    plain = ask(where, [tensor(picture(8, 8, 3), "UINT8")])[1]["outputs"]
    assert [(o["name"], o["datatype"]) for o in plain] == [("output_0", "FP32"), ("output_1", "FP32")]
    status, answer = ask(where, [tensor(picture(2, 8, 8, 3), "UINT8")], outputs=outputs)
    assert (status, "one picture at a time" in answer["error"]) == (400, True)
    status, answer = ask(routes(bundle("int8")), [tensor(picture(8, 8, 3), "UINT8")], outputs=outputs)
    assert (status, "no output detections" in answer["error"]) == (400, True)


def test_any_answer_is_json_where_it_is_asked_for():
    answer = ask(routes(bundle("int8")), [tensor(picture(8, 8, 3), "UINT8")], outputs=[{"name": "answer"}])[1]
    (found,) = answer["outputs"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [1])
    assert set(json.loads(found["data"][0])) == {"index", "score"}
    boxes = ask(
        routes(detector(), inference=Boxes()), [tensor(picture(40, 80, 3), "UINT8")], outputs=[{"name": "answer"}]
    )
    (one,) = json.loads(boxes[1]["outputs"][0]["data"][0])["detections"]
    assert one["box"] == pytest.approx([0.0, 0.0, 1.0, 0.5])
    status, refused = ask(
        routes(no_batch(), inference=Doubled()), [tensor([1] * 4, "INT8")], outputs=[{"name": "answer"}]
    )
    assert (status, "no output answer" in refused["error"]) == (400, True)  # a raw model has no answer


def test_a_mask_is_of_the_picture_that_was_sent():
    where = routes(segmenter(), inference=Halves())
    (mask, answer) = ask(where, [tensor(picture(4, 8, 3), "UINT8")], outputs=[{"name": "mask"}, {"name": "answer"}])[1][
        "outputs"
    ]
    assert (mask["datatype"], mask["shape"]) == ("UINT8", [4, 8])
    assert mask["data"] == [0] * 16 + [1] * 16
    shown = json.loads(answer["data"][0])
    assert shown == {"shares": {"red": 0.5, "green": 0.5}, "size": [4, 8], "runs": [[0, 16], [1, 16]]}
    about = json.loads(where.answer(Request("GET", "/v2/models/m", {}, b"")).body)
    assert [one["name"] for one in about["outputs"]] == ["output"]  # who takes all outputs gets no answer twice
    assert [one["name"] for one in about["parameters"]["computed"]] == ["mask", "answer"]


def test_models_of_two_inputs_take_real_values_under_either_name():
    made = two_inputs()
    for names in (("a", "b"), ("input_0", "input_1")):
        sent = [tensor([[1.0, 2.0]], "FP32", names[0]), tensor([[0.5, -4.0]], "FP32", names[1])]
        for inputs in (sent, sent[::-1]):
            (got,) = ask(routes(made, inference=Sum()), inputs)[1]["outputs"]
            assert (got["name"], got["data"]) == ("y" if names[0] == "a" else "output", [1.5, -2.0])
    status, answer = ask(routes(made, inference=Sum()), [sent[0], tensor(np.zeros((3, 2)), "FP32", "input_1")])
    assert (status, "different numbers of samples" in answer["error"]) == (400, True)


def test_metadata_say_all_that_an_application_needs_and_the_same_for_each_target():
    said = []
    for target in TARGETS:
        response = routes(bundle(target)).answer(Request("GET", "/v2/models/m/versions/1.2.3"))
        document = json.loads(response.body)
        (sent,), (got,) = document["inputs"], document["outputs"]
        assert (sent["name"], sent["datatype"], sent["shape"]) == ("input", "FP32", [1, 8, 8, 3])
        assert (got["name"], got["datatype"], got["shape"]) == ("output", "FP32", [1, 3])
        raw = sent["parameters"].pop("raw"), got["parameters"].pop("raw")
        spec = bundle(target).inputs[0]
        assert (raw[0]["name"], raw[0]["scale"], raw[0]["zero_point"]) == (spec.name, spec.scale, spec.zero_point)
        assert document["parameters"]["labels"] == {"count": 3, "path": "/v2/models/m/labels"}
        assert sent["parameters"]["preprocess"]["scale"] == PREP["scale"]
        said.append(document)
    assert all(document == said[0] for document in said)


def test_labels_configuration_index_and_statistics_are_read_where_the_protocol_has_them():
    where = routes(bundle("int8"))

    def get(path, method="GET"):
        response = where.answer(Request(method, path))
        assert response.status == 200, response.body
        return json.loads(response.body)

    assert get("/v2/models/m/labels") == ["red", "green", "blue"]
    assert get("/v2/models/m/config")["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [8, 8, 3]}]
    assert get("/v2/repository/index", "POST") == [{"name": "m", "version": "1.2.3", "state": "READY", "reason": ""}]
    assert get("/v2/models/m/stats")["model_stats"][0]["last_inference"] == 0
    ask(where, [tensor(picture(4, 8, 8, 3), "UINT8")])
    ask(where, [tensor(picture(8, 8), "BYTES")])
    for path in ("/v2/models/stats", "/v2/models/m/stats", "/v2/models/m/versions/1.2.3/stats"):
        (one,) = get(path)["model_stats"]
        assert (one["name"], one["version"], one["inference_count"]) == ("m", "1.2.3", 4)
        assert one["inference_stats"]["success"]["count"] == one["inference_stats"]["fail"]["count"] == 1
        assert one["inference_stats"]["success"]["ns"] >= one["inference_stats"]["compute_infer"]["ns"] > 0
        assert one["last_inference"] > 1_700_000_000_000
    assert where.answer(Request("POST", "/v2/repository/models/m/load")).status == 400
