"""One client connection in one thread: HTTP/1.1 through h11, kept alive until the client, a timeout or a drain ends it.

A drain never cuts off a request: until its grace period ends, a request that arrives still gets its answer, with
`Connection: close`. Knows no route.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import h11

from skerry_agent.runner.http.drain import DrainSignal
from skerry_agent.runner.http.messages import Request, RequestError, Response

IDLE_S = 75.0
"""How long a kept-alive connection may be silent; longer than common clients keep theirs."""
TRANSFER_S = 30.0
"""How long a request may take to arrive, or a response to be taken."""
LINGER_S = 1.0
"""How long to wait for the peer's close, so that unread bytes do not reset a response on its way."""
_CHUNK = 65536


class Connection:
    """Serves requests on a connected socket, which it owns and closes."""

    def __init__(
        self, peer: socket.socket, answer: Callable[[Request], Response], max_body_bytes: int, drain: DrainSignal
    ) -> None:
        self._peer = peer
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._drain = drain
        self._http = h11.Connection(h11.SERVER)
        peer.settimeout(TRANSFER_S)
        if peer.family in {socket.AF_INET, socket.AF_INET6}:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        with self._peer, contextlib.suppress(OSError):  # a peer that is gone or too slow: nobody is left to tell
            while self._request_comes() and self._serve_one():
                self._http.start_next_cycle()
            self._close_gently()

    def _request_comes(self) -> bool:
        """Wait for the next request's first bytes (or the peer's close); False when it is time to close."""
        if self._http.trailing_data[0]:
            return True
        if not self._drain.set and self._wait(IDLE_S, self._drain):
            return True
        return self._drain.set and self._wait(self._drain.grace_left_s, None)

    def _wait(self, timeout_s: float, signal: DrainSignal | None) -> bool:
        """Whether the peer sent something within the time; a drain ends the wait."""
        poller = select.poll()
        poller.register(self._peer, select.POLLIN)
        if signal is not None:
            poller.register(signal, select.POLLIN)
        return self._peer.fileno() in (fd for fd, _ in poller.poll(timeout_s * 1000))

    def _serve_one(self) -> bool:
        """Read one request and answer it; False when the connection ends with it."""
        try:
            request = self._read_request()
            if request is None:
                return False
            self._send(self._answer(request))
        except h11.RemoteProtocolError as error:
            self._send(RequestError(error.error_status_hint, f"not HTTP: {error}").response)
        except RequestError as error:
            self._send(error.response)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _read_request(self) -> Request | None:
        """The next request, None when the peer has closed. Raises `RequestError` (413) and h11's errors."""
        head = self._next_event()
        if not isinstance(head, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        if int(headers.get("content-length", "0")) > self._max_body_bytes:
            raise self._too_large()
        body = bytearray()
        while isinstance(event := self._next_event(), h11.Data):
            body += event.data
            if len(body) > self._max_body_bytes:
                raise self._too_large()
        return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))

    def _next_event(self) -> Any:
        deadline = time.monotonic() + TRANSFER_S
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            if time.monotonic() > deadline:
                raise TimeoutError
            self._http.receive_data(self._peer.recv(_CHUNK))
        return event

    def _send(self, response: Response) -> None:
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        headers += response.headers
        if self._drain.set or self._http.their_state is not h11.DONE:
            headers.append(("connection", "close"))
        self._write(
            h11.Response(status_code=response.status, headers=headers),
            h11.Data(data=response.body),
            h11.EndOfMessage(),
        )

    def _write(self, *events: Any) -> None:
        self._peer.sendall(b"".join(self._http.send(event) or b"" for event in events))

    def _close_gently(self) -> None:
        """Say that nothing more comes, and take what the peer still sends for a moment."""
        self._peer.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_S
        while (left := deadline - time.monotonic()) > 0 and self._wait(left, None):
            if not self._peer.recv(_CHUNK):
                return

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body is over {self._max_body_bytes} bytes")
