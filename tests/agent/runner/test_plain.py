"""What the quick parser takes, what it leaves to h11, and that both give the same answers on one connection."""

import socket

import pytest

from skerry_agent.runner.http.crowd import Limits
from skerry_agent.runner.http.messages import json_response
from skerry_agent.runner.http.plain import NotPlain, parse_head
from skerry_agent.runner.http.server import Server

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"


def test_a_plain_head():
    head = b"POST /b?q HTTP/1.1\r\nHOST:x\r\nContent-Length: 12\r\nConnection: Keep-Alive\r\nEmpty: \r\n\r\n"
    headers = {"host": "x", "content-length": "12", "connection": "Keep-Alive", "empty": ""}
    assert parse_head(head) == ("POST", "/b?q", headers, 12)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \xe9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_everything_else_is_left_to_h11(head):
    with pytest.raises(NotPlain):
        parse_head(head)


class Echo:
    """Answers with what it was asked."""

    max_body_bytes = 1000

    def answer(self, request):
        return json_response([request.method, request.path, bytes(request.body).decode(), request.uid is not None])


@pytest.fixture
def connected(tmp_path):
    """A client's end of a connection whose server answers with what it was asked."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        server = Server([listener], lambda _ready: Echo(), Limits(closing_s=0.1))
        server.start()
        client.settimeout(10)
        client.connect(str(tmp_path / "s"))
        yield client
        server.drain(0)


def answers(client, number):
    """The bodies of so many answers with status 200."""
    got = b""
    while not (got.endswith((b"]", b"\r\n\r\n")) and got.count(b"HTTP/1.1 200 ") == number):
        data = client.recv(65536)
        assert data, got
        got += data
    assert got.count(b"HTTP/1.1 200 ") == number
    return [part.partition(b"\r\n\r\n")[2].decode() for part in got.split(b"HTTP/1.1 200 ")[1:]]


def test_requests_in_one_packet_and_in_single_bytes(connected):
    connected.sendall(GET + POST + GET)
    assert answers(connected, 3) == ['["GET","/a","",true]', '["POST","/b","abc",true]', '["GET","/a","",true]']
    for byte in POST:
        connected.sendall(bytes([byte]))
    assert answers(connected, 1) == ['["POST","/b","abc",true]']


def test_a_connection_goes_on_when_its_client_becomes_unusual(connected):
    connected.sendall(POST + CHUNKED + POST)
    assert answers(connected, 3) == ['["POST","/b","abc",true]', '["POST","/c","xyz",true]', '["POST","/b","abc",true]']


@pytest.mark.parametrize("lines", [b"GET /a HTTP/1.1\nHost: x\n\n", b"GET /a HTTP/1.1\r\nHost: x\n\r\n"])
def test_lines_that_end_in_a_bare_line_feed_are_answered_at_once(connected, lines):
    connected.sendall(lines)
    assert answers(connected, 1) == ['["GET","/a","",true]']


def test_the_answer_to_head_has_no_body(connected):
    """A client takes a body for the beginning of the next answer."""
    connected.sendall(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert answers(connected, 1 + 1) == ["", '["GET","/a","",true]']


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET /" + b"a" * 70000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000, b"431"),
    ],
)
def test_what_is_wrong_is_answered_once_and_ends_the_connection(connected, sent, status):
    connected.sendall(sent)
    got = b""
    while data := connected.recv(65536):
        got += data
    assert got.startswith(b"HTTP/1.1 " + status)
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in got


@pytest.mark.parametrize("sent", [b"", POST[:-1], GET[:-2], CHUNKED[:-4]])
def test_a_client_that_goes_away_is_no_error(connected, sent):
    connected.sendall(sent)
    connected.shutdown(socket.SHUT_WR)
    while connected.recv(65536):
        pass
