"""The HTTP/1.1 that clients of an inference API send: strict, small and quick. Everything else is left to h11.

Plain is a request with one Content-Length or none, each header once, and a connection that stays open. What is
unusual, wrong or cut raises `NotPlain` with nothing consumed: `skerry_agent.runner.http.general` then answers it, and
says what is wrong. So this module refuses nothing by itself except a body that is too large. Waits for nothing: each
`receive` reads once from a socket that does not block. Knows no route.
"""

import re
import socket

from skerry_agent.runner.http.messages import Request, RequestError, Response

CHUNK = 65536
MAX_HEAD_BYTES = 16384
_FIRST_BODY_BYTES = 4 * CHUNK
"""The memory that a body gets before more of it than that has come: a length is easily said."""
_END = re.compile(rb"\n\r?\n|\A[^A-Z]")
"""Where a head ends, or cannot begin: lines may end in a bare LF (RFC 9112, 2.2), and nobody waits for more of them."""
_HEAD = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_UNUSUAL = {"transfer-encoding", "expect", "upgrade", "trailer"}
_OTHERWISE_ANSWERED = {b"HEAD", b"CONNECT"}


class NotPlain(Exception):  # noqa: N818 - no error: another parser takes over
    """This needs the general parser."""


class Plain:
    """Reads plain requests from a socket and writes their responses. `buffer` is what it has not used."""

    outgoing = b""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self.buffer = b""
        self.reusable = True
        self._searched = 0
        self._head: tuple[str, str, dict[str, str], int] | None = None
        self._body: bytes | bytearray = b""
        self._arrived = 0

    @property
    def pending(self) -> bool:
        """Whether the beginning of another request is here already."""
        return bool(self.buffer) or self._head is not None

    @property
    def in_body(self) -> bool:
        """Whether a body is on its way that did not come with its head."""
        return self._head is not None

    def receive(self, peer: socket.socket) -> bool:
        """Read once; False when the peer sends no more. Raises `OSError`: `BlockingIOError` when nothing is there."""
        if self._head is None:
            data = peer.recv(CHUNK)
            self.buffer += data
            return bool(data)
        with memoryview(self._room_for_more(self._head[3])) as whole, whole[self._arrived :] as free:
            count = peer.recv_into(free)
        self._arrived += count
        return count > 0

    def end(self) -> None:
        """The peer sends no more. Raises `NotPlain` where that cuts a head, `ConnectionAbortedError` in a body."""
        if self._head is not None:
            raise ConnectionAbortedError
        if self.buffer:
            raise NotPlain

    def request(self) -> Request | None:
        """The next request, None while some of it is missing. Raises `NotPlain`, `RequestError` (413)."""
        if self._head is None:
            self._head = self._next_head()
        if self._head is None or self._arrived < self._head[3]:
            return None
        (method, path, headers, length), body = self._head, self._body
        self._head, self._body, self._arrived = None, b"", 0
        return Request(method, path, headers, body if isinstance(body, bytes) else memoryview(body)[:length])

    def write(self, response: Response, *, close: bool) -> bytes:
        """The bytes of a response; `close` says in it that the connection ends."""
        self.reusable = self.reusable and not close
        return head_of(response, close=not self.reusable) + response.body

    def _next_head(self) -> tuple[str, str, dict[str, str], int] | None:
        """The head at the beginning of `buffer`, once it is whole; what has come of its body goes to `_body`."""
        found = _END.search(self.buffer, max(0, self._searched - 2))
        if found is None:
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise NotPlain
            self._searched = len(self.buffer)
            return None
        end, self._searched = found.end(), 0
        head = parse_head(self.buffer[:end])
        if head[3] > self._max_body_bytes:
            self.reusable, self.buffer = False, b""
            raise RequestError(413, f"the body is over {self._max_body_bytes} bytes")
        self._body = self.buffer[end : end + head[3]]
        self._arrived, self.buffer = len(self._body), self.buffer[end + head[3] :]
        return head

    def _room_for_more(self, length: int) -> bytearray:
        """The body so far, in memory that has room for what comes next; it doubles with what has come."""
        body = self._body if isinstance(self._body, bytearray) else bytearray(self._body)
        if self._arrived == len(body):
            body += bytes(min(length - self._arrived, max(_FIRST_BODY_BYTES, self._arrived)))
        self._body = body
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
