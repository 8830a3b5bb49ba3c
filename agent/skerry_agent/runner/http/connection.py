"""One client connection: reads its requests and writes its answers as far as its socket goes at once, and never waits.

Reads with `plain`, and from the first request that is not plain on with `general`. Knows no route, no thread and no
time: `skerry_agent.runner.http.server` does.
"""

import socket
import struct
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from skerry_agent.runner.http.messages import Request, Response
from skerry_agent.runner.http.plain import CHUNK, NotPlain, Plain

_CREDENTIALS = struct.Struct("3i")


class _Parser(Protocol):
    outgoing: bytes

    @property
    def pending(self) -> bool: ...
    @property
    def in_body(self) -> bool: ...
    @property
    def reusable(self) -> bool: ...
    def receive(self, peer: socket.socket) -> bool: ...
    def end(self) -> None: ...
    def request(self) -> Request | None: ...
    def write(self, response: Response, *, close: bool) -> bytes: ...


class Connection:
    """A connected socket, which it owns. `has_place` is its server's note that it may bring a large body."""

    def __init__(self, peer: socket.socket, max_body_bytes: int) -> None:
        peer.setblocking(False)
        if peer.family in {socket.AF_INET, socket.AF_INET6}:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.has_place = False
        self.file = peer.fileno()
        self._peer = peer
        self._max_body_bytes = max_body_bytes
        self._plain = Plain(max_body_bytes)
        self._parser: _Parser = self._plain
        self._uid = user_of(peer)
        self._decrypted: Callable[[], int] = getattr(peer, "pending", _none)
        self._unsent = memoryview(b"")
        self._last = False

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the beginning of another request is here already; of one that TLS keeps the kernel does not tell."""
        return self._parser.pending or self._decrypted() > 0

    @property
    def in_body(self) -> bool:
        """Whether a body is on its way that did not come with its head."""
        return self._parser.in_body

    def receive(self) -> bool:
        """Read once; False when the peer sends no more. Raises `OSError`: `BlockingIOError` when nothing is there."""
        if self._parser.receive(self._peer):
            return True
        try:
            self._parser.end()
        except NotPlain:
            self._generalize().end()
        return False

    def request(self) -> Request | None:
        """The next request, None while some of it is missing. Raises `RequestError`, `OSError`."""
        try:
            request = self._parser.request()
        except NotPlain:
            request = self._generalize().request()
        if self._parser.outgoing:
            self._peer.send(self._parser.outgoing)  # 25 bytes, after which the client sends the rest
            self._parser.outgoing = b""
        return request if request is None or self._uid is None else replace(request, uid=self._uid)

    def _generalize(self) -> _Parser:
        from skerry_agent.runner.http.general import General  # noqa: PLC0415 - imports h11

        self._parser = General(self._max_body_bytes, self._plain.buffer)
        return self._parser

    # -- answers -------------------------------------------------------------------------------------------------------

    @property
    def last(self) -> bool:
        """Whether the answer that was put last ends the connection."""
        return self._last

    def put(self, response: Response, *, close: bool) -> None:
        """An answer to send."""
        self._unsent = memoryview(self._parser.write(response, close=close))
        self._last = close or not self._parser.reusable

    def send(self) -> bool:
        """Send what the socket takes; True when that was all. Raises `OSError` when nobody is left to tell."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._peer.send(self._unsent) :]
        except BlockingIOError:
            return False
        return True

    # -- the end -------------------------------------------------------------------------------------------------------

    def say_end(self) -> None:
        """Nothing more comes. Raises `OSError` when the peer is gone."""
        self._peer.shutdown(socket.SHUT_WR)

    def discard(self) -> bool:
        """Take what the peer still sends, and drop it; False when it has closed too. Raises `OSError` likewise."""
        return bool(self._peer.recv(CHUNK))

    def close(self) -> None:
        """Free the descriptor."""
        self._peer.close()


def _none() -> int:
    """What a socket without TLS keeps to itself."""
    return 0


def user_of(peer: socket.socket) -> int | None:
    """The user behind a Unix socket, as the kernel says (SO_PEERCRED of unix(7)); None for any other connection."""
    if peer.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
