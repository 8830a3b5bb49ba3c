"""An HTTP server of the plane among many who connect: how many it keeps, and who gives way."""

import socket
import threading
import urllib.request
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skerry_host.plane.web.connections import MOST
from skerry_host.plane.web.server import Server
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system

ASKED, ANSWERED = threading.Event(), threading.Event()


def answer_later(_request):
    ASKED.set()
    ANSWERED.wait(20)
    return PlainTextResponse("here")


@pytest.fixture
def server():
    ASKED.clear()
    ANSWERED.clear()
    routes = [Route("/", lambda _request: PlainTextResponse("here")), Route("/later", answer_later)]
    with Server(Starlette(routes=routes), "127.0.0.1", 0) as made:
        yield made


def come(stack, server, text=b""):
    """Somebody who connects and says so much."""
    host, port = server.url.removeprefix("http://").split(":")
    opened = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
    opened.sendall(text)
    opened.setblocking(False)
    return opened


def is_open(connection):
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_who_connects_and_asks_nothing_takes_no_file_from_the_plane_and_keeps_nobody_out(server, text):
    """A thousand idle connections took all files of the plane: no revocation came into force as long as they stayed."""
    with ExitStack() as stack:
        idle = [come(stack, server, text) for _ in range(MOST + 50)]
        eventually(lambda: sum(map(is_open, idle)) == MOST, "the rest is ended")
        assert not any(map(is_open, idle[:40])), "the oldest give way"
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            assert answer.read() == b"here"


def test_who_is_being_answered_stays(server):
    with ExitStack() as stack:
        asking = come(stack, server, b"GET /later HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert ASKED.wait(10)
        idle = [come(stack, server) for _ in range(MOST + 10)]
        eventually(lambda: sum(map(is_open, idle)) == MOST - 1, "the rest is ended")
        ANSWERED.set()
        asking.setblocking(True)
        assert b"here" in b"".join(iter(lambda: asking.recv(4096), b""))
