"""Who may use an inference API over TCP: a host that is this one, TLS and a token where other machines can connect."""

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import time

import pytest

from skerry_agent.ports.api_access import ApiAccess
from skerry_agent.runner.http.guard import Guard
from skerry_agent.runner.http.messages import Request, Response
from skerry_agent.runner.http.server import Server
from skerry_agent.runner.http.tls import Tls

TOKEN = "correct-horse-battery-staple"


class Echo:
    max_body_bytes = 10_000_000

    def answer(self, request):
        return Response(200, bytes(request.body) or request.path.encode())


class Rig:
    def __init__(self, access, **request):
        self.issues = []
        self.guard = Guard(Echo(), access, "fashion", self.issues.append)

    def get(self, host=None, token=None, **more):
        headers = {**({"host": host} if host is not None else {}), **({"authorization": token} if token else {})}
        return self.guard.answer(Request("GET", "/v2", headers, **more))


HERE = [
    "localhost",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]:8000",
    "[::1]",
    "LocalHost:80",
    "localhost.",
    "127.8.8.8",
    None,
]
ELSEWHERE = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", ":80", "192.168.1.5",
    "[::2]", "a" * 5000, "localhost:80:80", "127.0.0.1 ", "\u0660",
]  # fmt: skip


@pytest.mark.parametrize("host", HERE)
def test_requests_for_this_machine_are_answered(host):
    assert Rig(ApiAccess()).get(host).status == 200


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_that_points_its_own_name_here_gets_nothing(host, method):
    """DNS rebinding: the browser says which host it takes this one for."""
    response = Rig(ApiAccess()).guard.answer(Request(method, "/v2/models/fashion/infer", {"host": host}))
    assert response.status == 421
    assert b"is not served here" in response.body
    assert len(response.body) < 400


def test_a_refusal_names_only_what_would_be_answered():
    """An API on loopback takes no address of another machine, so "use an address" led nowhere there."""
    assert b"use localhost, or name it in http_names" in Rig(ApiAccess()).get("192.168.1.5").body
    assert b"use an address, or name it" in Rig(ApiAccess(addresses=True)).get("evil.example").body


def test_names_that_are_configured_and_addresses_of_an_open_api_are_answered():
    open_api = Rig(ApiAccess(("Edge-7.factory",), addresses=True))
    assert [open_api.get(host).status for host in ("edge-7.FACTORY:80", "10.0.0.9", "[fe80::1]:80")] == [200] * 3
    assert open_api.get("evil.example").status == 421
    assert Rig(ApiAccess(check_host=False)).get("evil.example").status == 200


def test_on_a_unix_socket_neither_host_nor_token_is_asked(tmp_path):
    assert Rig(ApiAccess(token_file=str(tmp_path / "none"))).get("evil.example", uid=1000).status == 200


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}", "Bearer \xff"],
)
def test_without_the_right_token_there_is_no_answer(token, header):
    rig = Rig(ApiAccess(token_file=str(token)))
    response = rig.get("localhost", header)
    assert (response.status, dict(response.headers)) == (401, {"www-authenticate": "Bearer"})
    assert TOKEN.encode() not in response.body
    assert rig.get("localhost", f"bearer {TOKEN}").status == 200
    assert rig.issues == [None]


def test_a_token_that_is_replaced_counts_at_once(token):
    rig = Rig(ApiAccess(token_file=str(token)))
    assert rig.get("localhost", f"Bearer {TOKEN}").status == 200
    token.write_text("another-token-that-is-long")
    assert rig.get("localhost", f"Bearer {TOKEN}").status == 401
    assert rig.get("localhost", "Bearer another-token-that-is-long").status == 200


@pytest.mark.parametrize(("text", "mode", "said", "let_in"), [
    (None, 0o600, "nobody is let in", False), ("short", 0o600, "at least 16", False), (TOKEN, 0o644, "chmod 600", True),
])  # fmt: skip
def test_what_is_wrong_with_the_token_is_an_issue_and_opens_nothing(token, text, mode, said, let_in):
    if text is None:
        token.unlink()
    else:
        token.write_text(text)
        token.chmod(mode)
    rig = Rig(ApiAccess(token_file=str(token)))
    assert (rig.get("localhost", f"Bearer {text}").status == 200) == let_in
    assert said in rig.issues[-1]
    assert TOKEN not in rig.issues[-1]


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*made, *name, "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
    return folder


@contextlib.contextmanager
def serving(cert, key):
    issues = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        copy = socket.socket(fileno=os.dup(listener.fileno()))
        server = Server([copy], lambda _ready: Echo(), wrap=Tls(cert, key, issues.append).wrap)
        server.start()
        try:
            yield listener.getsockname()[1], issues
        finally:
            server.drain(0.0)
            copy.close()


def connection(port, folder):
    context = ssl.create_default_context(cafile=folder / "cert")
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=20)


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 65_537, 3_000_000])
def test_requests_of_any_size_come_through_tls_one_after_the_other(certificate, size):
    """Of what TLS has decrypted already the kernel does not tell."""
    with serving(certificate / "cert", certificate / "key") as (port, issues):
        client = connection(port, certificate)
        for _ in range(3):
            client.request("POST", "/x", b"y" * size)
            assert client.getresponse().read() == (b"y" * size or b"/x")
        client.close()
        assert issues == [None]


def test_requests_that_come_together_in_one_record_are_all_answered(certificate):
    with serving(certificate / "cert", certificate / "key") as (port, _):
        context = ssl.create_default_context(cafile=certificate / "cert")
        with context.wrap_socket(socket.create_connection(("localhost", port)), server_hostname="localhost") as wire:
            wire.settimeout(20)
            wire.sendall(b"GET /one HTTP/1.1\r\nhost: localhost\r\n\r\n" * 5)
            said = b""
            while said.count(b"/one") < 5:
                piece = wire.recv(65536)
                assert piece, f"it was closed after {said.count(b'/one')} answers"
                said += piece


def test_who_never_finishes_a_handshake_holds_up_no_other(certificate):
    with serving(certificate / "cert", certificate / "key") as (port, _), contextlib.ExitStack() as idle:
        for opening in [b"", b"\x16", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n"] * 10:
            idle.enter_context(socket.create_connection(("localhost", port))).sendall(opening)
        began = time.monotonic()
        client = connection(port, certificate)
        client.request("GET", "/still")
        assert client.getresponse().read() == b"/still"
        client.close()
        assert time.monotonic() - began < 5.0


def test_without_tls_there_is_no_answer(certificate):
    served = serving(certificate / "cert", certificate / "key")
    with served as (port, _), socket.create_connection(("localhost", port)) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        wire.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in wire.recv(1000)


def test_a_certificate_that_cannot_be_used_lets_nobody_in_until_it_can(certificate, tmp_path):
    cert, key = tmp_path / "cert", tmp_path / "key"
    with serving(cert, key) as (port, issues):
        with pytest.raises((http.client.HTTPException, OSError)):
            connection(port, certificate).request("GET", "/")
        assert "nobody is let in over TCP" in issues[-1]
        key.write_bytes((certificate / "key").read_bytes())
        cert.write_bytes((certificate / "cert").read_bytes())
        client = connection(port, certificate)
        client.request("GET", "/now")
        assert client.getresponse().read() == b"/now"
        client.close()
        assert issues[-1] is None


def test_a_key_with_a_passphrase_is_an_issue_and_asks_nobody(certificate, tmp_path):
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", certificate / "key", "-out", tmp_path / "key"]
    subprocess.run(command, check=True, capture_output=True)
    issues = []
    with socket.socketpair()[0] as peer, pytest.raises(OSError, match="no usable certificate"):
        Tls(certificate / "cert", tmp_path / "key", issues.append).wrap(peer)
    assert "cannot be used" in issues[-1]
