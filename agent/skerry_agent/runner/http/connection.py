"""One client connection in one thread: requests and answers, until the client, a timeout or a drain ends it.

A drain never cuts off a request: until its grace period ends, a request that arrives still gets its answer, with
`Connection: close`. Reads with `plain`, and from the first request that is not plain on with `general`. Knows no route.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from skerry_agent.runner.http.drain import DrainSignal
from skerry_agent.runner.http.messages import Request, RequestError, Response
from skerry_agent.runner.http.plain import CHUNK, TRANSFER_S, NotPlain, Plain

IDLE_S = 75.0
"""How long a kept-alive connection may be silent; longer than common clients keep theirs."""
LINGER_S = 1.0
"""How long to wait for the peer's close, so that unread bytes do not reset a response on its way."""
_CREDENTIALS = struct.Struct("3i")


class _Parser(Protocol):
    @property
    def pending(self) -> bool: ...
    @property
    def reusable(self) -> bool: ...
    def read(self) -> Request | None: ...
    def write(self, response: Response, *, close: bool) -> None: ...


class Connection:
    """Serves requests on a connected socket, which it owns and closes."""

    def __init__(
        self, peer: socket.socket, answer: Callable[[Request], Response], max_body_bytes: int, drain: DrainSignal
    ) -> None:
        self._peer = peer
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._drain = drain
        self._plain = Plain(peer, max_body_bytes)
        self._parser: _Parser = self._plain
        self._uid = user_of(peer)
        peer.settimeout(TRANSFER_S)
        if peer.family in {socket.AF_INET, socket.AF_INET6}:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._both = select.poll()
        self._both.register(peer, select.POLLIN)
        self._both.register(drain, select.POLLIN)

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        with self._peer, contextlib.suppress(OSError):  # a peer that is gone or too slow: nobody is left to tell
            while self._request_comes() and self._serve_one():
                pass
            self._close_gently()

    def _request_comes(self) -> bool:
        """Wait for the next request's first bytes (or the peer's close); False when it is time to close."""
        if self._parser.pending:
            return True
        if not self._drain.set and self._peer.fileno() in (fd for fd, _ in self._both.poll(IDLE_S * 1000)):
            return True
        return self._drain.set and self._peer_sends(self._drain.grace_left_s)

    def _peer_sends(self, timeout_s: float) -> bool:
        poller = select.poll()
        poller.register(self._peer, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def _serve_one(self) -> bool:
        """Read one request and answer it; False when the connection ends with it."""
        try:
            request = self._read()
            if request is None:
                return False
            response = self._answer(request)
        except RequestError as error:
            response = error.response
        closing = self._drain.set
        self._parser.write(response, close=closing)
        return self._parser.reusable and not closing

    def _read(self) -> Request | None:
        try:
            request = self._parser.read()
        except NotPlain:
            from skerry_agent.runner.http.general import General  # noqa: PLC0415 - imports h11

            self._parser = General(self._peer, self._max_body_bytes, self._plain.buffer)
            request = self._parser.read()
        return request if request is None or self._uid is None else replace(request, uid=self._uid)

    def _close_gently(self) -> None:
        """Say that nothing more comes, and take what the peer still sends for a moment."""
        self._peer.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_S
        while (left := deadline - time.monotonic()) > 0 and self._peer_sends(left):
            if not self._peer.recv(CHUNK):
                return


def user_of(peer: socket.socket) -> int | None:
    """The user behind a Unix socket, as the kernel says (SO_PEERCRED of unix(7)); None for any other connection."""
    if peer.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
