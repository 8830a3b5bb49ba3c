"""Clients that are many, idle, slow, rude or gone: none of them keeps the others from an answer.

Servers in this process with few places and short times, and a model that a test can stop; one real runner where the
kernel's limits matter.
"""

import contextlib
import json
import os
import resource
import select
import socket
import statistics
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.http.crowd import Limits
from skerry_agent.runner.http.messages import json_response
from skerry_agent.runner.http.server import THREADS, Server
from skerry_agent.runner.turns import Turns
from tests.kit.waiting import eventually

HEALTH = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
INFER = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
BEGUN = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
EXPECTING = b"POST /infer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"POST /infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
QUICK = Limits(connections=8, large_bodies=4, idle_s=20, request_s=0.6, answer_s=0.6, closing_s=0.05, crowded_s=0.2)
FLOOD = int(os.environ.get("SKERRY_FLOOD", "2000"))
ROOMY = Limits(closing_s=0.1)
PATIENCE_S = 20


class Model:
    """Answers in turns, as an engine does; `gate` lets it go on. An answer to `/large` is 4 MB."""

    max_body_bytes = 1_000_000

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.started = []
        self._turn = Turns()

    def answer(self, request):
        if request.method == "GET":
            return json_response({"live": True})
        if request.path == "/bug":
            raise ZeroDivisionError
        with self._turn:
            self.started.append(bytes(request.body))
            assert self.gate.wait(PATIENCE_S)
        return json_response("x" * (4_000_000 if request.path == "/large" else 2))


@pytest.fixture(params=["tcp", "unix"])
def place(request, tmp_path):
    """A listening socket, and how to connect to it."""
    if request.param == "tcp":
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        where = listener.getsockname()
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where := str(tmp_path / "s"))
        listener.listen(128)
    clients = []

    def connect(say=b""):
        client = socket.socket(listener.family)
        clients.append(client)
        client.settimeout(PATIENCE_S)
        client.connect(where)
        client.sendall(say)
        return client

    with listener:
        yield SimpleNamespace(listener=listener, connect=connect)
        for client in clients:
            client.close()


@pytest.fixture
def serve(place):
    """Start a server with these limits at the place; returns it and its model."""
    stop = []

    def start(limits=QUICK):
        model = Model()
        server = Server([place.listener], lambda _ready: model, limits)
        server.start()
        stop.append((server, model))
        return server, model

    yield start
    for server, model in stop:
        model.gate.set()
        if server._threads[0].is_alive():
            server.drain(0)


def answered(client):
    """The first line of one answer; empty when the server has closed."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in got:
            data = client.recv(65536)
            if not data:
                break
            got += data
    return got.partition(b"\r\n")[0]


def is_answered(client, what=HEALTH):
    client.sendall(what)
    return answered(client).startswith(b"HTTP/1.1 200")


def ends(client):
    """Whether the server ends the connection."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(65536):
            pass
    return True


@pytest.mark.parametrize("said", [b"", HEALTH], ids=["silent", "kept alive"])
def test_idle_connections_give_way_at_once(place, serve, said):
    serve()
    idle = [place.connect(said) for _ in range(3 * QUICK.connections)]
    began = time.monotonic()
    assert is_answered(place.connect(), INFER)
    assert time.monotonic() - began < QUICK.idle_s / 2
    assert ends(idle[0])
    assert is_answered(idle[-1]) or said


def test_who_has_been_idle_longest_goes_first(place, serve):
    serve()
    early, late = place.connect(), place.connect()
    for client in (early, late, early):
        assert is_answered(client)
    for _ in range(QUICK.connections - 2):
        assert is_answered(place.connect())
    assert is_answered(place.connect())
    assert ends(late)
    assert is_answered(early)


@pytest.mark.parametrize(
    "begin", [BEGUN, BEGUN + b"x" * 70_000, CHUNKED, CHUNKED + b"4\r\nxx", b"GET / HTTP/1.1\r\nA", EXPECTING]
)
def test_requests_that_drip_keep_nobody_out(place, serve, begin):
    """More of them than there are connections, and none ever ends by itself."""
    serve()
    drips = [place.connect(begin) for _ in range(2 * QUICK.connections)]
    client = place.connect()
    for drip in drips:
        with contextlib.suppress(OSError):  # it may have been closed
            drip.sendall(b"x")
    assert is_answered(client, INFER)


@pytest.mark.parametrize("begin", [BEGUN, CHUNKED, b"GET / HTTP/1.1\r\n", EXPECTING[:-2]])
def test_a_request_has_its_time_as_a_whole_however_it_drips(place, serve, begin):
    serve()
    drip, got = place.connect(begin), b""
    drip.settimeout(0.02)
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        with contextlib.suppress(TimeoutError, OSError):
            got += drip.recv(1000)
            break
        with contextlib.suppress(OSError):
            drip.send(b"0" if begin is CHUNKED else b"x")
    assert time.monotonic() - began >= 0.9 * QUICK.request_s
    assert got.startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_take_its_answer_is_left(place, serve):
    serve()
    deaf = place.connect(INFER.replace(b"/infer", b"/large"))
    client = place.connect()
    assert is_answered(client, INFER)
    eventually(lambda: ends_within(deaf, 4_000_000), "the answer is cut")


def ends_within(client, size):
    time.sleep(2 * QUICK.answer_s)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            got += len(data)
    return got < size


def test_a_slow_client_gets_a_large_answer_whole(place, serve):
    serve(ROOMY)
    slow, got = place.connect(INFER.replace(b"/infer", b"/large")), b""
    while not got.endswith(b'x"'):  # the end of its body, which may come in any pieces
        got += slow.recv(10_000)
    assert got.endswith(b'"' + b"x" * 4_000_000 + b'"')
    assert is_answered(slow, INFER)


def test_health_is_answered_while_every_thread_and_the_line_are_busy(place, serve):
    _, model = serve(ROOMY)
    model.gate.clear()
    busy = [place.connect(INFER) for _ in range(5 * THREADS)]
    eventually(lambda: model.started, "the model is busy")
    for _ in range(3):
        assert is_answered(place.connect())
    model.gate.set()
    assert all(answered(client).startswith(b"HTTP/1.1 200") for client in busy)


def test_requests_that_wait_are_answered_in_the_order_of_their_arrival(place, serve):
    _, model = serve(ROOMY)
    model.gate.clear()
    for _ in range(THREADS - 1):
        place.connect(INFER)
    eventually(lambda: model.started, "the model is busy")
    clients = [place.connect() for _ in range(40)]
    for at, client in enumerate(clients):
        client.sendall(INFER.replace(b"{}", b"%02d" % at))
        assert is_answered(place.connect())  # so it has been read
    model.gate.set()
    assert all(answered(client).startswith(b"HTTP/1.1 200") for client in clients)
    waited = [int(body) for body in model.started if body != b"{}"]
    assert sorted(waited) == list(range(40))
    assert statistics.median(abs(turn - at) for turn, at in enumerate(waited)) < THREADS  # a busy machine may stop one


def test_a_client_that_sends_many_requests_at_once_is_no_more_served_than_others(place, serve):
    _, model = serve(ROOMY)
    model.gate.clear()
    greedy = place.connect(INFER * 500)
    others = [place.connect(INFER.replace(b"{}", b"ok")) for _ in range(10)]
    eventually(lambda: model.started, "the model is busy")
    assert is_answered(place.connect())
    model.gate.set()
    assert all(answered(client).startswith(b"HTTP/1.1 200") for client in others)
    assert model.started.index(b"ok") < 2 * THREADS
    got = b""
    while got.count(b"HTTP/1.1 200") < 500:
        got += greedy.recv(65536)


def test_large_bodies_beyond_their_places_wait_and_are_all_answered(place, serve):
    _, model = serve(Limits(large_bodies=2, crowded_s=PATIENCE_S, closing_s=0.1))
    clients = [place.connect() for _ in range(12)]
    body = b"z" * 300_000
    head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    senders = [threading.Thread(target=client.sendall, args=(head + body,)) for client in clients]
    for sender in senders:
        sender.start()
    assert all(answered(client).startswith(b"HTTP/1.1 200") for client in clients)
    for sender in senders:
        sender.join()
    assert model.started == [body] * 12


def test_a_reset_in_the_midst_of_anything_costs_nobody_else(place, serve):
    server, _ = serve(ROOMY)
    for said in (b"", HEALTH[:9], BEGUN + b"x", INFER, INFER * 3, INFER.replace(b"/infer", b"/large"), CHUNKED):
        client = place.connect(said)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert is_answered(place.connect(), INFER)
    eventually(lambda: len(server._connections) <= 1, "what is gone is closed")


@pytest.mark.parametrize("what", [INFER, HEALTH, CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"])
def test_a_client_that_has_said_all_still_gets_its_answer(place, serve, what):
    serve()
    client = place.connect(what)
    client.shutdown(socket.SHUT_WR)
    assert answered(client).startswith(b"HTTP/1.1 200")
    assert ends(client)


def test_a_bug_in_an_answer_is_one_client_s_error_and_not_the_end(place, serve):
    serve()
    client = place.connect(INFER.replace(b"/infer", b"/bug"))
    assert answered(client).startswith(b"HTTP/1.1 500")
    assert is_answered(place.connect(), INFER)


def test_a_drain_ends_while_clients_drip_stall_and_keep_silent(place, serve):
    server, model = serve(Limits(request_s=1000, answer_s=1000, crowded_s=0.2, closing_s=0.2))
    for said in (b"", HEALTH, BEGUN, CHUNKED, b"GET ", INFER.replace(b"/infer", b"/large")):
        place.connect(said)
    model.gate.clear()
    open_ = place.connect(INFER)
    eventually(lambda: len(model.started) >= 1, "a request is open")
    drain = threading.Thread(target=server.drain, args=(0.2,))
    drain.start()
    model.gate.set()
    assert answered(open_).startswith(b"HTTP/1.1 200")
    drain.join(PATIENCE_S)
    assert not drain.is_alive()


def test_a_drain_ends_however_many_wait_to_bring_a_large_body(place, serve):
    server, _ = serve(Limits(large_bodies=1, request_s=1000, crowded_s=0.3, closing_s=0.1))
    for _ in range(60):
        place.connect(BEGUN)
    assert is_answered(place.connect())
    began = time.monotonic()
    server.drain(0)
    assert time.monotonic() - began < 5


def test_a_request_that_arrives_slowly_in_a_drain_is_answered(place, serve):
    server, _ = serve(ROOMY)
    client = place.connect(INFER[:-1])
    assert is_answered(place.connect())
    drain = threading.Thread(target=server.drain, args=(0.5,))
    drain.start()
    client.sendall(INFER[-1:])
    assert answered(client).startswith(b"HTTP/1.1 200")
    drain.join(PATIENCE_S)
    assert not drain.is_alive()


@pytest.fixture
def no_more_files():
    """Calling it leaves this process no descriptor to open."""
    before, filled = resource.getrlimit(resource.RLIMIT_NOFILE), []

    def fill():
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 1, before[1])
        )
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))

    yield fill
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    for file in filled:
        os.close(file)


def test_without_descriptors_it_does_not_spin_and_the_idle_give_way(place, serve, no_more_files):
    _, model = serve(ROOMY)
    known = place.connect()
    waiting = [socket.socket(place.listener.family) for _ in range(3)]
    model.gate.clear()
    known.sendall(INFER)
    eventually(lambda: model.started, "the model is busy")
    no_more_files()
    for client in waiting:
        client.settimeout(PATIENCE_S)
        client.connect(place.listener.getsockname())
        client.sendall(INFER)
    cpu = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - cpu < 0.15
    model.gate.set()
    for client in (known, *waiting):
        assert answered(client).startswith(b"HTTP/1.1 200")
        client.close()


def test_a_flood_of_connections_does_not_end_those_that_have_asked(spawn, tiny, listener):
    spawn(tiny("add", listen_fd=listener.fileno()), listener).ready()
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        assert is_answered(known)
        for at in range(FLOOD):
            client = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S)
            if at % 20:
                client.close()
            else:
                stack.enter_context(client)
        assert is_answered(known)


def test_a_runner_with_few_descriptors_keeps_some_for_itself(spawn, tiny, listener):
    """It opens a file for every heartbeat, and ends when it cannot."""
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))"
    command = ("-c", f"{few}; from skerry_agent.runner.__main__ import main; main()")
    child = spawn(tiny("add", listen_fd=listener.fileno()), listener, command)
    child.ready()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        assert is_answered(client, infer_tiny())
        child.wait_for(lambda total: total.inferences == 1)
        child.say(runner_protocol.Drain(grace_s=0.1))
        child.expect(runner_protocol.Drained)


def infer_tiny():
    """A request to the model of `tiny`."""
    entry = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = json.dumps({"inputs": [entry]}).encode()
    return b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_two_hundred_idle_and_dripping_clients_close_the_api_for_nobody(spawn, tiny, listener):
    """64 idle ones did so for up to 75 s, and 64 dripping ones for ever."""
    spawn(tiny("add", listen_fd=listener.fileno()), listener).ready()
    with contextlib.ExitStack() as stack:
        for at in range(200):
            client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
            client.sendall(HEALTH if at % 2 else BEGUN)
        client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        began = time.monotonic()
        assert is_answered(client, infer_tiny())
        assert time.monotonic() - began < 5


def test_of_two_hundred_clients_the_least_served_gets_half_of_the_median(spawn, tiny, listener):
    """On kept-alive connections, each asking again as soon as it is answered; 136 of them got nothing at all."""
    spawn(tiny("add", listen_fd=listener.fileno()), listener).ready()
    what, counts = infer_tiny(), [0] * 200
    with contextlib.ExitStack() as stack:
        poller = stack.enter_context(contextlib.closing(select.epoll()))
        clients = {}
        for at in range(200):
            client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
            clients[client.fileno()] = at, client
            poller.register(client, select.EPOLLIN)
            client.sendall(what)
        ends_at = time.monotonic() + PATIENCE_S
        while sum(counts) < 3000 and time.monotonic() < ends_at:
            for file, _ in poller.poll(1):
                at, client = clients[file]
                assert client.recv(65536).startswith(b"HTTP/1.1 200")
                counts[at] += 1
                client.sendall(what)
    assert min(counts) >= 0.5 * statistics.median(counts) > 0
