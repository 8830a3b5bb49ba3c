"""Any HTTP/1.1 that is not plain, through h11: chunked bodies, `Expect`, `Connection: close`, and what is wrong.

Imported only when a client needs it, because h11 costs memory that few runners need. Knows no route.
"""

import socket
import time
from typing import Any

import h11

from skerry_agent.runner.http.messages import Request, RequestError, Response
from skerry_agent.runner.http.plain import CHUNK, TRANSFER_S


class General:
    """Goes on with a connection of which `begun` has arrived and is not used yet."""

    def __init__(self, peer: socket.socket, max_body_bytes: int, begun: bytes) -> None:
        self._peer, self._max_body_bytes = peer, max_body_bytes
        self._http = h11.Connection(h11.SERVER)
        self._method = b""
        if begun:
            self._http.receive_data(begun)

    @property
    def pending(self) -> bool:
        """Whether the beginning of another request is here already."""
        return bool(self._http.trailing_data[0])

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def read(self) -> Request | None:
        """The next request, None when the peer has closed. Raises `RequestError` and `OSError`."""
        if self.reusable:
            self._http.start_next_cycle()
        self._method = b""  # what is refused before its method is known is not answered as the request before it
        try:
            return self._request()
        except h11.RemoteProtocolError as error:
            raise RequestError(error.error_status_hint, f"not HTTP: {error}") from None

    def write(self, response: Response, *, close: bool) -> None:
        """Send a response; `close` says in it that the connection ends."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        headers += response.headers
        if close or self._http.their_state is not h11.DONE:
            headers.append(("connection", "close"))
        self._send(
            h11.Response(status_code=response.status, headers=headers),
            h11.Data(data=b"" if self._method == b"HEAD" else response.body),
            h11.EndOfMessage(),
        )

    def _request(self) -> Request | None:
        head = self._next_event()
        if not isinstance(head, h11.Request):
            return None
        self._method = head.method
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
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            if time.monotonic() > deadline:
                raise TimeoutError
            self._http.receive_data(self._peer.recv(CHUNK))
        return event

    def _send(self, *events: Any) -> None:
        self._peer.sendall(b"".join(self._http.send(event) or b"" for event in events))

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body is over {self._max_body_bytes} bytes")
