"""Blobs over HTTP: the agent's own source against the host's own server; ranges, digests, what is not there."""

import contextlib
import queue
import socket
import threading
import time

import pytest

from skerry_agent.fetch.fetcher import Fetcher, Limits
from skerry_agent.fetch.over_http import Http
from skerry_agent.fetch.over_mqtt import Retained
from skerry_agent.ports.clock import EventQueue
from skerry_agent.state.blobs import BlobStore
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe, digest_list, parse_digests, split
from skerry_host.plane.delivery.over_http import PATH, blob_application
from skerry_host.plane.web.server import Server
from skerry_host.release.store import Store
from tests.kit.home import model_bytes
from tests.kit.link import FakeLink

DATA = model_bytes("http", 300_000)
REF = describe(DATA)
FIRST = DATA[: REF.chunk_bytes]


@pytest.fixture
def store(tmp_path):
    kept = Store(tmp_path / "store")
    kept.put(DATA)
    return kept


@pytest.fixture
def base(store):
    with Server(blob_application(store), "127.0.0.1", 0) as server:
        yield server.url + PATH


class Fetch:
    """A fetch over HTTP, then over a broker that holds `retained`; `run` returns what became of it."""

    def __init__(self, folder, base, retained=None):
        self.clock, self.link = EventQueue(), FakeLink(retained or {})
        self.store = BlobStore(folder)
        self.ended = []
        end = self.ended.append
        self.fetcher = Fetcher(self.clock, self.store, [REF], Limits(), lambda: end("done"), lambda *why: end(why[0]))
        self.retained = Retained(self.link)
        self.calls = queue.SimpleQueue()
        self.sources = [Http(self.calls.put, base)] + ([self.retained] if retained else [])

    def run(self):
        self.fetcher.start(self.sources)
        while not self.ended:
            if self.link.subscribed:
                self.link.pump(self.retained.message)
            else:
                self.calls.get(timeout=10)()
        return self.ended


def over_mqtt():
    chunks = {topics.chunk(REF.sha256, i): chunk for i, chunk in enumerate(split(DATA))}
    return chunks | {topics.digests(REF.sha256): digest_list(DATA)}


def test_a_blob_comes_by_ranges(base, tmp_path):
    fetch = Fetch(tmp_path / "device", base)
    assert fetch.run() == ["done"]
    assert fetch.store.path(REF.sha256).read_bytes() == DATA
    assert fetch.fetcher.transferred == len(DATA) + 32 * REF.chunks


def test_it_resumes_with_what_is_missing(base, tmp_path):
    part = BlobStore(tmp_path / "device").open_part(REF, parse_digests(REF, digest_list(DATA)))
    for i, chunk in enumerate(split(DATA)):
        if i != 2:
            part.write(i, chunk)
    part.close()
    fetch = Fetch(tmp_path / "device", base)
    assert fetch.run() == ["done"]
    assert fetch.fetcher.transferred == REF.chunk_size(2) + 32 * REF.chunks


@pytest.mark.parametrize("spoil", ["gone", "damaged", "short", "no server"])
def test_what_http_cannot_give_comes_over_mqtt(store, base, tmp_path, spoil, monkeypatch):
    monkeypatch.setattr("skerry_agent.fetch.over_http.RETRY_S", 0.01)
    path = store.path(REF.sha256)
    if spoil == "gone":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(bytes(len(DATA)))
    elif spoil == "short":
        path.write_bytes(DATA[:100])
    else:
        base = "http://127.0.0.1:1/blobs"
    fetch = Fetch(tmp_path / "device", base, over_mqtt())
    assert fetch.run() == ["done"]
    assert fetch.store.path(REF.sha256).read_bytes() == DATA


def test_without_another_source_it_fails_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("skerry_agent.fetch.over_http.RETRY_S", 0.01)
    assert Fetch(tmp_path, "http://127.0.0.1:1/blobs").run() == ["unreachable"]


class Drip:
    """A server that answers right, one byte after the other; `head`: at once, up to the body."""

    def __init__(self, *, head):
        self._head, self.asked = head, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}/blobs"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            self.asked += 1
            with connection, contextlib.suppress(OSError):
                status = 206 if b"Range:" in connection.recv(65536) else 200
                head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(FIRST)}\r\n\r\n".encode()
                if self._head:
                    connection.sendall(head)
                for byte in FIRST if self._head else head:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)


@pytest.mark.parametrize("head", [False, True], ids=["from the first byte", "the body"])
def test_a_server_that_is_too_slow_is_left_for_the_broker(tmp_path, monkeypatch, head):
    """Every byte comes in time, so that no time-out of the socket ends it."""
    monkeypatch.setattr("skerry_agent.fetch.over_http.TIMEOUT_S", 0.3)
    monkeypatch.setattr("skerry_agent.fetch.over_http.SLOWEST_BYTES_S", 10**9)
    server = Drip(head=head)
    fetch = Fetch(tmp_path / "device", server.base, over_mqtt())
    assert fetch.run() == ["done"]
    assert list(fetch.fetcher.transports) == ["retained"]
    assert server.asked == 1


@pytest.mark.parametrize("name", ["..%2f..%2fkeys", "0" * 64, "x", REF.sha256.upper()])
def test_nothing_else_is_served(base, name):
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(base)
    for path in (f"{parts.path}/{name}", f"{parts.path}/{name}/digests"):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
        connection.request("GET", path)
        assert connection.getresponse().status == 404
        connection.close()


class Odd:
    """A server that says the next of some answers on each connection, and hangs up; None: without a word."""

    def __init__(self, *answers):
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}/blobs"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        for answer in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65536)
                if answer is not None:
                    status, body, length = answer
                    connection.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n".encode() + body)


def test_a_server_that_closes_the_connection_is_tried_again(monkeypatch):
    monkeypatch.setattr("skerry_agent.fetch.over_http.RETRY_S", 0.01)
    server = Odd(None, None, (206, FIRST, len(FIRST)))
    assert Http(lambda call: call(), server.base).read(REF, 0) == FIRST


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, FIRST, len(FIRST)), "answers 200"),
        ((206, FIRST + b"more", len(FIRST) + 4), "another length"),
        ((206, FIRST[:-1], len(FIRST) - 1), "another length"),
    ],
    ids=["ignores ranges", "longer", "shorter"],
)
def test_what_is_not_the_range_that_was_asked_for_is_refused(answer, says, monkeypatch):
    monkeypatch.setattr("skerry_agent.fetch.over_http.RETRY_S", 0.01)
    with pytest.raises(OSError, match=says):
        Http(lambda call: call(), Odd(answer, answer, answer).base).read(REF, 0)
