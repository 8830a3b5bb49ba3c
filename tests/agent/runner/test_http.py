"""The Open Inference Protocol, spoken by clients that are not ours, and by one that breaks the rules."""

import contextlib
import gzip
import http.client
import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
import tritonclient.http as triton

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.engines import ModelFile, open_engine
from tests.kit.tiny_models import infer as infer_here
from tests.kit.waiting import eventually


@pytest.fixture
def served(spawn, tiny, listener):
    """Serve a tiny model; returns (child, port)."""

    def start(kind="add", **job):
        child = spawn(tiny(kind, listen_fd=listener.fileno(), **job), listener)
        child.ready()
        return child, listener.getsockname()[1]

    return start


def ask(port, method, path, body=None, headers=None):
    """One request on a connection of its own: (status, JSON or bytes, headers)."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request(method, path, body, headers or {})
        response = client.getresponse()
        raw = response.read()
        is_json = response.headers["content-type"] == "application/json"
        return response.status, json.loads(raw) if is_json else raw, response.headers


def infer(port, body, headers=None, path="/v2/models/tiny/infer"):
    raw = body if isinstance(body, bytes) else json.dumps(body)
    return ask(port, "POST", path, raw, headers)


def tensor(data=(1, 2, 3, 4), **changes):
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": list(data)} | changes]}


MODELS = [
    "edgetpu/bright_16x16.tflite",
    "edgetpu/color_red_64x64.tflite",
    "edgetpu/keras_lstm_mnist_ptq.tflite",
    "edgetpu/mobilenet_v1_0.25_128_quant.tflite",
    "edgetpu/split_concat.tflite",
    "delta/mnv2_v1.tflite",
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("binary", [True, False])
def test_a_foreign_client_gets_raw_what_the_interpreter_gives(spawn, job_for, listener, real_model, name, binary):
    model = real_model(name)
    child = spawn(job_for(model, samples=1, listen_fd=listener.fileno()), listener)
    child.ready()
    client = triton.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny", "1.0.0")
    metadata = client.get_model_metadata("tiny")
    rng = np.random.default_rng(3)
    engine = open_engine("litert", ModelFile(str(model)))
    arrays = [_random(rng, spec) for spec in engine.inputs]
    inputs = []
    for entry, array in zip(metadata["inputs"], arrays, strict=True):
        raw = entry["parameters"]["raw"]
        inputs.append(triton.InferInput(entry["name"], raw["shape"], raw["datatype"]))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    outputs = [triton.InferRequestedOutput(entry["name"], binary_data=binary) for entry in metadata["outputs"]]
    answer = client.infer("tiny", inputs, outputs=outputs, request_id="42", parameters={"values": "raw"})
    assert answer.get_response()["id"] == "42"
    for entry, expected in zip(metadata["outputs"], infer_here(engine, arrays), strict=True):
        got = answer.as_numpy(entry["name"])
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    client.close()


def _random(rng, spec):
    if spec.dtype == "float32":
        return rng.random(spec.shape, dtype=np.float32)
    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_compressed_request_of_a_foreign_client(served, compression):
    _, port = served()
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    answer = client.infer("tiny", [x], request_compression_algorithm=compression)
    np.testing.assert_array_equal(answer.as_numpy("y"), [[2, 3, 4, 5]])
    client.close()


def test_metadata_and_health(served):
    _, port = served()
    assert "binary_tensor_data" in ask(port, "GET", "/v2")[1]["extensions"]
    assert ask(port, "GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert ask(port, "GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert ask(port, "GET", "/v2/models/tiny/versions/1.0.0/ready")[:2] == (200, {"name": "tiny", "ready": True})
    metadata = ask(port, "GET", "/v2/models/tiny")[1]
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("tiny", ["1.0.0"], "litert")
    assert [tensor["shape"] for tensor in (*metadata["inputs"], *metadata["outputs"])] == [[1, 4], [1, 4]]


def test_json_in_and_out_with_id(served):
    _, port = served()
    assert infer(port, tensor() | {"id": "a"})[:2] == (
        200,
        {
            "model_name": "tiny",
            "model_version": "1.0.0",
            "id": "a",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}],
        },
    )


def test_nested_data_binary_output_and_version_in_the_path(served):
    _, port = served()
    body = tensor() | {"parameters": {"binary_data_output": True}}
    body["inputs"][0]["data"] = [[1, 2, 3, 4]]
    status, raw, headers = infer(port, body, path="/v2/models/tiny/versions/1.0.0/infer")
    size = int(headers["inference-header-content-length"])
    assert status == 200
    assert json.loads(raw[:size])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert struct.unpack("<4f", raw[size:]) == (2, 4, 6, 8)


def binary(values=b"\0" * 16, size=16, length=None):
    head = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}
    ).encode()
    return head + values, {"inference-header-content-length": str(len(head) if length is None else length)}


BAD = {
    "no JSON": (b"{", {}, "request"),
    "no object": (b"[]", {}, "object"),
    "no inputs": ({}, {}, "inputs"),
    "deep": (b'{"inputs":' + b"[" * 5000, {}, "request"),
    "unknown input": (tensor(name="z"), {}, "the model takes ['x']"),
    "input twice": ({"inputs": tensor()["inputs"] * 2}, {}, "the model takes ['x']"),
    "datatype": (tensor(datatype="INT8"), {}, "is FP32, not INT8"),
    "shape": (tensor(shape=[5]), {}, "has shape [1, 4]"),
    "huge shape": (tensor(shape=[2**70, 4]), {}, ""),
    "too few": (tensor([1]), {}, "data has shape [1]"),
    "ragged": (tensor([[1, 2], [3]]), {}, "ragged"),
    "text": (tensor(["a", "b", "c", "d"]), {}, "not of FP32"),
    "null": (tensor([None] * 4), {}, "not of FP32"),
    "beyond float32": (tensor([1e300] * 4), {}, "infinity"),
    "neither data nor bytes": ({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]}, {}, "either"),
    "unknown output": (tensor() | {"outputs": [{"name": "q"}]}, {}, "no output q"),
    "classification of nothing": (
        tensor() | {"outputs": [{"name": "y", "parameters": {"classification": -1}}]},
        {},
        "how many classes",
    ),
    "cut binary": (*binary(b"\0" * 15), "binary_data_size"),
    "negative size": (*binary(size=-1), "binary_data_size"),
    "too much binary": (*binary(b"\0" * 17), "follow the last input"),
    "small size": (*binary(b"\0" * 8, 8), "16 expected"),
    "NaN": (*binary(struct.pack("<4f", 0, 0, 0, float("nan"))), "NaN"),
    "length beyond": (*binary(length=9999), "body has"),
    "length not a number": (*binary(length="x"), "body has"),
    "not gzip": (b"hello", {"content-encoding": "gzip"}, "not valid gzip"),
    "cut gzip": (gzip.compress(json.dumps(tensor()).encode())[:-9], {"content-encoding": "gzip"}, "cut"),
    "gzip bomb": (gzip.compress(b" " * 10_000_000), {"content-encoding": "gzip"}, "unpacks to more"),
}


def test_bad_requests_get_4xx_with_one_line_and_count_as_nobodys_error(served):
    child, port = served()
    for case, (body, headers, words) in BAD.items():
        status, answer, _ = infer(port, body, headers)
        assert status == 400, (case, answer)
        assert words in answer["error"], (case, answer)
        assert "\n" not in answer["error"]
    assert infer(port, tensor())[0] == 200
    total = child.wait_for(lambda t: t.inferences == 1)
    assert total.errors == total.invalid_outputs == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/tiny/versions/9.0.0", 404),
        ("GET", "/v2/models/tiny/nothing", 404),
        ("GET", "/v2/models/tiny/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/%ff%00/..", 404),
    ],
)
def test_paths_and_methods_that_are_not_there(served, method, path, status):
    _, port = served()
    got, answer, _ = ask(port, method, path)
    assert got == status
    assert list(answer) == ["error"]


@pytest.mark.parametrize(
    ("values", "ok"), [([1, -128, 127, 0], True), ([128, 0, 0, 0], False), ([1.5, 0, 0, 0], False), ([True] * 4, False)]
)
def test_integers_are_neither_wrapped_nor_rounded(served, values, ok):
    _, port = served("copy")
    status, answer, _ = infer(port, tensor(values, datatype="INT8"))
    assert (status == 200) is ok
    if ok:
        assert answer["outputs"][0]["data"] == values


def test_outputs_that_are_no_numbers_count_against_the_model(served):
    child, port = served("log")
    status, answer, _ = infer(port, tensor([-1, 1, 1, 1]))
    assert status == 500
    assert "NaN" in answer["error"]
    assert child.wait_for(lambda t: t.inferences == 1).invalid_outputs == 1


def test_a_body_over_the_limit_is_refused_before_it_is_read(served):
    _, port = served()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("raw", [b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"G" * 70000])
def test_what_is_not_http_gets_a_4xx_and_a_close(served, raw):
    _, port = served()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(raw)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(4096):
                answer += data
        assert answer.startswith(b"HTTP/1.1 4")


def test_expect_continue_chunked_bodies_and_pipelining(served):
    _, port = served()
    body = json.dumps(tensor()).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\n"
        client.sendall(head + b"expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")
        assert client.recv(4096) == b"HTTP/1.1 100 \r\n\r\n"
        client.sendall(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) + b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n" * 2
        )
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3:
            answer += client.recv(4096)


def test_nothing_answers_before_accept_and_the_queue_waits(spawn, tiny, listener):
    child = spawn(tiny("add", listen_fd=listener.fileno()), listener)
    child.expect(runner_protocol.Loaded)
    child.expect(runner_protocol.Ready)
    with socket.create_connection(listener.getsockname(), timeout=0.3) as client:
        client.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        child.say(runner_protocol.Accept())
        client.settimeout(10)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_drain_answers_a_kept_alive_connection_once_more_and_closes_idle_ones(served):
    child, port = served()
    busy, idle = (http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(2))
    for client in (busy, idle):
        client.request("GET", "/v2/health/live")
        assert client.getresponse().read()
    busy_socket = busy.sock
    child.say(runner_protocol.Drain(grace_s=1.0))
    time.sleep(0.2)
    busy.request("POST", "/v2/models/tiny/infer", json.dumps(tensor()))
    assert busy.sock is busy_socket
    response = busy.getresponse()
    assert (response.status, response.headers["connection"]) == (200, "close")
    response.read()
    child.expect(runner_protocol.Drained)
    assert idle.sock.recv(1) == b""
    idle.close()


def test_readiness_ends_with_the_drain(served):
    child, port = served()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", "/v2/health/ready")
        client.getresponse().read()
        child.say(runner_protocol.Drain(grace_s=5.0))
        time.sleep(0.2)
        client.request("GET", "/v2/health/ready")
        assert client.getresponse().status == 503
        child.expect(runner_protocol.Drained)


@pytest.fixture
def unix_listener(tmp_path):
    """A listening Unix socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(128)
        yield server


class Local(http.client.HTTPConnection):
    """The standard library's client on a socket of any family."""

    def __init__(self, listener):
        super().__init__("localhost", timeout=10)
        self._listener = listener

    def connect(self):
        self.sock = socket.socket(self._listener.family)
        self.sock.connect(self._listener.getsockname())


@pytest.mark.parametrize("kind", ["listener", "unix_listener"])
def test_runners_take_over_from_each_other_without_losing_a_request(spawn, tiny, request, kind):
    listener = request.getfixturevalue(kind)
    job = tiny("add", **{"listen_fd" if kind == "listener" else "unix_fd": listener.fileno()})
    stop, outcomes = threading.Event(), []

    def load():
        client = Local(listener)
        while not stop.is_set():
            client.request("POST", "/v2/models/tiny/infer", json.dumps(tensor()))
            response = client.getresponse()
            outcomes.append((response.status, json.loads(response.read())["outputs"][0]["data"][0]))
            time.sleep(0.005)
        client.close()

    current = spawn(job, listener)
    current.ready()
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(3):
        following = spawn(job, listener)
        following.ready()
        eventually(lambda least=20 * (swap + 1): len(outcomes) > least, "requests beside each swap")
        current.say(runner_protocol.Drain(grace_s=2.0))
        current.expect(runner_protocol.Drained)
        current.say(runner_protocol.Stop())
        current = following
    stop.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) == {(200, 2.0)}


def test_a_unix_socket_serves_as_well(spawn, tiny, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        child = spawn(tiny("add", listen_fd=listener.fileno()), listener)
        child.ready()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_more_clients_than_threads_are_all_answered(served):
    _, port = served()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(100)]
        for client in clients:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert all(client.recv(4096).startswith(b"HTTP/1.1 200") for client in clients)


def test_garbage_is_counted_as_input_errors_and_never_as_the_model_s_own(served):
    """A client that sends nonsense, in whatever way, fails no release on probation."""
    child, port = served("log")
    bad = [b"{", tensor((1, 2, 3)), tensor(datatype="INT8"), tensor(("x",) * 4), tensor((float("nan"),) * 4)]
    assert {infer(port, body)[0] for body in bad} == {400}
    assert infer(port, tensor(), {"Content-Encoding": "lzma"})[0] == 415
    assert infer(port, tensor(), {"Inference-Header-Content-Length": "9" * 5000})[0] == 400
    infer(port, tensor((-1e30,) * 4))  # NaN from the model, as any would give
    total = child.wait_for(lambda total: total.input_errors >= 8)
    assert (total.errors, total.invalid_outputs, total.input_errors) == (0, 0, 8)


def test_nan_for_a_usual_input_is_the_model_s_own(served):
    child, port = served("log")
    infer(port, tensor((-1, -1, -1, -1)))
    total = child.wait_for(lambda total: total.invalid_outputs)
    assert total.input_errors == 0


def test_what_follows_a_head_request_and_is_no_http_gets_its_answer(served):
    """The error has a body, unlike the answer before it: else the length in its header would be a lie."""
    child, port = served()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n" + b"no http\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: client.recv(65536), b""))
    assert b'{"error":"not HTTP' in said
    child.say(runner_protocol.Stop())
    assert "Traceback" not in child.last_words()
