"""Readers of the inference API: requests as data (`json`), and bytes on a connection of a whole server (`http`)."""

import gzip
import json
import socket
import threading
from types import SimpleNamespace

import msgspec

from skerry_agent.runner.http.messages import Request
from skerry_agent.runner.http.oip import HEADER_LENGTH, Served
from skerry_agent.runner.http.routes import Routes
from skerry_agent.runner.http.server import Server
from skerry_agent.runner.inference import Inference
from skerry_agent.wire.manifest import Bundle, TensorSpec
from tests.fuzz.files import scratch_file

INPUTS = (TensorSpec("x", "float32", (1, 4)), TensorSpec("m", "uint8", (2,)))
OUTPUTS = (TensorSpec("y", "float32", (1, 4)), TensorSpec("z", "int64", (1,)))
BUNDLE = Bundle("cpu", (), INPUTS, OUTPUTS, task="raw")
PATH = "/v2/models/tiny/infer"
TOKENS = (
    b'"parameters": {"binary_data_size": -1}',
    b'"parameters": {"binary_data_size": true}',
    b'"shape": [1e3]',
    b'"datatype": "BYTES"',
    b'"data": {}',
    b'"data": "x"',
    b'"data": [[[[]]]]',
    b'"\\ud800"',
    b'"id": "\\u0000"',
    b'"outputs": [{"name": "y"}]',
    b"-0",
    b"1e400",
    b'"classification": 3',
    b'"shared_memory_region": "r"',
)
HTTP_TOKENS = (
    *TOKENS,
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 1_0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: x\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate\r\n",
    b"Host: x\r\n",
    b" HTTP/1.0",
    b" HTTP/9.9",
    b"Inference-Header-Content-Length: " + b"9" * 5000 + b"\r\n",
    b"Inference-Header-Content-Length: 10\r\n",
    b"%00",
    b"%ff%fe",
    b"/../..",
    b"?" * 3000,
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"\x16\x03\x01",
    b"PRI * HTTP/2.0",
)


class Echo:
    """An engine that answers its first input."""

    about = SimpleNamespace(name="echo", version="1", delegate="")
    inputs, outputs = INPUTS, OUTPUTS

    def infer(self, inputs):  # type: ignore[no-untyped-def]
        from skerry_agent.runner.tensor import Tensor

        return [Tensor("float32", (1, 4), bytes(inputs[0].data)), Tensor("int64", (1,), bytes(8))]


def routes() -> Routes:
    served = Served("tiny", "1.0.0", "echo", BUNDLE)
    return Routes(served, Inference(Echo(), BUNDLE), lambda: True)  # type: ignore[arg-type]


def body_seeds() -> list[bytes]:
    """What follows the first line is the body: JSON, and JSON with tensors behind it."""
    entries = [
        {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3.5, -4e5]},
        {"name": "m", "shape": [2], "datatype": "UINT8", "data": [1, 255]},
    ]
    plain = {"inputs": entries, "id": "7", "outputs": [{"name": "z", "parameters": {"binary_data": True}}]}
    nested = {
        "inputs": [{**entries[0], "data": [[1, 2, 3, 4]]}, entries[1]],
        "parameters": {"binary_data_output": True},
    }
    binary = {
        "inputs": [
            {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
            {"name": "m", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}},
        ]
    }
    heads = [json.dumps(head).encode() for head in (plain, nested, binary)]
    return [
        b"\n" + heads[0],
        b"\n" + heads[1],
        str(len(heads[2])).encode() + b"\n" + heads[2] + bytes(16) + b"\0\1",
        b"gzip\n" + gzip.compress(heads[0], mtime=0),
        b"deflate\n" + gzip.zlib.compress(heads[0]),  # type: ignore[attr-defined]
    ]


def open_json() -> object:
    """Requests as data: every one gets an answer that is JSON or binary, never a 500."""
    answers = routes()

    def read(raw: bytes) -> None:
        first, _, body = raw.partition(b"\n")
        line = first.decode("latin-1")
        headers = {"content-encoding": line} if line in {"gzip", "deflate"} else {HEADER_LENGTH: line} if line else {}
        for path in (PATH, "/v2/" + line):
            response = answers.answer(Request("POST", path, headers, body))
            assert response.status in {200, 400, 404, 405, 413, 415}, response
            if response.status != 200:
                assert set(msgspec.json.decode(response.body)) == {"error"}

    return read


def request_seeds() -> list[bytes]:
    made = []
    for seed in body_seeds():
        first, _, body = seed.partition(b"\n")
        extra = {b"": b"", b"gzip": b"Content-Encoding: gzip\r\n", b"deflate": b"Content-Encoding: deflate\r\n"}
        header = extra.get(first, b"Inference-Header-Content-Length: " + first + b"\r\n")
        made.append(_request(b"POST /v2/models/tiny/infer", header, body))
    model = b"/v2/models/tiny"
    gets = (b"/v2", b"/v2/health/ready", model, model + b"/ready", b"/v2/systemsharedmemory/status")
    made += [_request(b"GET " + path) for path in gets]
    made.append(
        _request(b"GET /v2") + _request(b"HEAD /v2/models/tiny") + _request(b"GET /v2", b"Connection: close\r\n")
    )
    chunks = b"5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
    made.append(b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    return made


def _request(first: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return first + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + length + b"\r\n" + body


def open_http() -> object:
    """A server on a Unix socket: whatever comes, it closes the connection, logs no traceback, and answers the next."""
    path = scratch_file("http")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    crashes: list[threading.ExceptHookArgs] = []
    threading.excepthook = crashes.append
    Server([listener], lambda _ready: routes()).start()

    def read(raw: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            try:
                client.sendall(raw)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except (BrokenPipeError, ConnectionResetError):  # it was refused before it had all come
                return
        if crashes:
            crash = crashes.pop()
            raise AssertionError(f"a thread ended: {crash.exc_type.__name__}: {crash.exc_value}") from crash.exc_value

    return read


READERS = (
    ("json", body_seeds, open_json, (), TOKENS),
    ("http", request_seeds, open_http, (), HTTP_TOKENS, True),
)
