"""Whatever a body says, an application gets an answer: what it asked for, or one line that says what is wrong.

Requests that are right, with up to three of their parts replaced.
"""

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.runner.http.messages import Request
from tests.kit.stand_ins import (
    TARGETS,
    Boxes,
    Doubled,
    Means,
    Sum,
    bundle,
    detector,
    no_batch,
    routes,
    two_inputs,
)

MODELS = {target: (bundle(target), Means) for target in TARGETS} | {
    "small letterbox": (bundle("int8", size=4, resize="letterbox", color="bgr"), Means),
    "crop, means": (bundle("onnx", size=4, resize="crop", mean=(0.1, 0.2, 0.3), std=(1, 2, 3)), Means),
    "no resizing": (bundle("uint8", size=8, resize="none"), Means),
    "detector": (detector(), lambda _made: Boxes()),
    "two inputs": (two_inputs(), lambda _made: Sum()),
    "no batch": (no_batch(), lambda _made: Doubled()),
}
RIGHT = [
    ([8, 8, 3], "UINT8"),
    ([2, 8, 8, 3], "FP32"),
    ([8, 8, 3], "FP64"),
    ([33, 9, 3], "UINT8"),
    ([4], "FP32"),
    ([5, 5], "INT16"),
]
ODD = st.sampled_from([None, True, -1, 0, 1, 2, 2.5, 1e300, "", "raw", "real", "sample", [], {}, 2**70, "x" * 300])
SHAPES = st.one_of(
    st.lists(st.sampled_from([0, 1, 2, 3, 4, 8, 8, 33, 257, 8193, -1, 2**40]), max_size=5),
    st.sampled_from([[1, 8, 8, 3], [1, 3, 8, 8], [1, 4, 4, 3], [1, 2], [2], [1, 100, 3]]),
)
CHANGES = {
    "shape": SHAPES,
    "datatype": st.sampled_from(["FP32", "UINT8", "INT8", "FP16", "INT64", "BOOL", "BYTES", "UINT16", "", "fp32"]),
    "name": st.sampled_from(["image", "x", "input_0", "a", "q"]),
    "data": st.one_of(ODD, st.lists(ODD, max_size=3)),
    "parameters": st.dictionaries(st.sampled_from(["values", "binary_data_size", "shared_memory_region"]), ODD),
}
OUTPUT = st.fixed_dictionaries(
    {"name": st.sampled_from(["output", "output_0", "output_1", "y", "detections", "detection_labels", "q"])},
    optional={
        "parameters": st.dictionaries(
            st.sampled_from(["classification", "binary_data", "values", "shared_memory_region"]), ODD, max_size=2
        )
    },
)


@st.composite
def requests(draw):
    """A model, and a request that may be one for it."""
    model = draw(st.sampled_from(sorted(MODELS)))
    names = ("input_0", "input_1") if model == "two inputs" else ("input",)
    entries = []
    for name in names:
        shape, datatype = ([1, 2], "FP32") if model == "two inputs" else draw(st.sampled_from(RIGHT))
        entry = {"name": name, "shape": shape, "datatype": datatype}
        changed = draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=2))
        entry |= {key: draw(CHANGES[key]) for key in changed}
        count = math.prod(entry["shape"])
        if "data" not in changed and 0 <= count <= 4096:
            entry["data"] = [draw(st.sampled_from([0, 1, 7, 255, 1e38 if "F" in datatype else -3]))] * count
        entries.append(entry)
    body = {"inputs": entries}
    if draw(st.booleans()):
        body["outputs"] = draw(st.lists(OUTPUT, max_size=3))
    if draw(st.booleans()):
        body["parameters"] = draw(st.dictionaries(st.sampled_from(["values", "binary_data_output"]), ODD))
    return model, body


@given(requests())
@settings(max_examples=400, deadline=None)
def test_any_request_is_answered_or_refused_in_one_line(request_):
    model, body = request_
    made, inference = MODELS[model]
    where = routes(made, inference=inference(made))
    with np.errstate(all="ignore"):
        response = where.answer(Request("POST", "/v2/models/m/infer", {}, json.dumps(body).encode()))
    head = dict(response.headers).get("inference-header-content-length")
    answer = json.loads(response.body[: int(head)] if head else response.body)
    if response.status == 200:
        assert answer["outputs"]
    else:
        assert response.status == 400, answer
        assert "\n" not in answer["error"]


@given(st.sampled_from(sorted(MODELS)), st.binary(min_size=1, max_size=64), st.sampled_from(RIGHT))
@settings(max_examples=150, deadline=None)
def test_any_binary_data_is_answered_or_refused(model, seed, form):
    """Also floats of any bits: NaN, infinity, the largest and the smallest."""
    made, inference = MODELS[model]
    shape, datatype = form
    width = {"UINT8": 1, "FP32": 4, "FP64": 8, "INT16": 2}[datatype]
    size = math.prod(shape) * width
    data = (seed * (size // len(seed) + 1))[:size]
    entry = {"name": "input", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [entry]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    with np.errstate(all="ignore"):
        response = routes(made, inference=inference(made)).answer(
            Request("POST", "/v2/models/m/infer", headers, head + data)
        )
    assert response.status in {200, 400}, response.body
