"""The HTTP/1.1 that clients of an inference API send: strict, small and quick. Everything else is left to h11.

Plain is a request with one Content-Length or none, each header once, and a connection that stays open. What is
unusual, wrong or cut raises `NotPlain` with nothing consumed: `skerry_agent.runner.http.general` then answers it, and
says what is wrong. So this module refuses nothing by itself except a body that is too large. Knows no route.
"""

import re
import socket
import time

from skerry_agent.runner.http.messages import Request, RequestError, Response

TRANSFER_S = 30.0
"""How long a request may take to arrive, or a response to be taken."""
CHUNK = 65536
MAX_HEAD_BYTES = 16384
_END = re.compile(rb"\n\r?\n|\A[^A-Z]")
"""Where a head ends, or cannot begin: lines may end in a bare LF (RFC 9112, 2.2), and nobody waits for more of them."""
_HEAD = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_UNUSUAL = {"transfer-encoding", "expect", "upgrade", "trailer"}
_OTHERWISE_ANSWERED = {b"HEAD", b"CONNECT"}


class NotPlain(Exception):  # noqa: N818 - no error: another parser takes over
    """This needs the general parser."""


class Plain:
    """Reads plain requests from a connected socket and writes their responses. `buffer` is what it has not used."""

    def __init__(self, peer: socket.socket, max_body_bytes: int) -> None:
        self._peer, self._max_body_bytes = peer, max_body_bytes
        self.buffer = b""
        self.reusable = True

    @property
    def pending(self) -> bool:
        """Whether the beginning of another request is here already."""
        return bool(self.buffer)

    def read(self) -> Request | None:
        """The next request, None when the peer has closed. Raises `NotPlain`, `RequestError` (413), `OSError`."""
        deadline = time.monotonic() + TRANSFER_S
        while (found := _END.search(self.buffer)) is None:
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise NotPlain
            data = self._peer.recv(CHUNK)
            if not data:
                if self.buffer:
                    raise NotPlain
                return None
            self.buffer += data
            _check_time(deadline)
        end = found.end()
        method, path, headers, length = parse_head(self.buffer[:end])
        if length > self._max_body_bytes:
            self.reusable = False
            raise RequestError(413, f"the body is over {self._max_body_bytes} bytes")
        body, self.buffer = self.buffer[end : end + length], self.buffer[end + length :]
        return Request(method, path, headers, body if len(body) == length else self._rest(body, length, deadline))

    def write(self, response: Response, *, close: bool) -> None:
        """Send a response; `close` says in it that the connection ends."""
        self._peer.sendall(head_of(response, close=close or not self.reusable) + response.body)

    def _rest(self, begun: bytes, length: int, deadline: float) -> memoryview:
        """A body that is still arriving, in memory that is there once."""
        body = memoryview(bytearray(length))
        body[: len(begun)] = begun
        at = len(begun)
        while at < length:
            count = self._peer.recv_into(body[at:])
            if not count:
                raise ConnectionAbortedError
            at += count
            _check_time(deadline)
        return body


def parse_head(head: bytes) -> tuple[str, str, dict[str, str], int]:
    """Method, target, headers by lower-case name, and the length of the body. Raises `NotPlain`."""
    found = _HEAD.fullmatch(head)
    if found is None or found[1] in _OTHERWISE_ANSWERED:
        raise NotPlain
    headers: dict[str, str] = {}
    for line in found[3].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers or name in _UNUSUAL:
            raise NotPlain
        headers[name] = value.strip(" \t")
    if "host" not in headers or headers.get("connection", "keep-alive").lower() != "keep-alive":
        raise NotPlain
    length = headers.get("content-length", "0")
    if _LENGTH.fullmatch(length) is None:
        raise NotPlain
    return found[1].decode(), found[2].decode(), headers, int(length)


def head_of(response: Response, *, close: bool) -> bytes:
    """Status line and headers of a response."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    closing = "connection: close\r\n" if close else ""
    return (
        f"HTTP/1.1 {response.status} \r\ncontent-type: {response.content_type}\r\n"
        f"content-length: {len(response.body)}\r\n{extra}{closing}\r\n"
    ).encode("latin-1")


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError
