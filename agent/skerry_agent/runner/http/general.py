"""Any HTTP/1.1 that is not plain, through h11: chunked bodies, `Expect`, `Connection: close`, and what is wrong.

Imported only when a client needs it, because h11 costs memory that few runners need. Waits for nothing. Knows no route.
"""

import socket
from typing import Any

import h11

from skerry_agent.runner.http.messages import Request, RequestError, Response
from skerry_agent.runner.http.plain import CHUNK

_MAX_DIGITS = 15


class General:
    """Goes on with a connection of which `begun` has arrived and is not used yet.

    `outgoing` is what is to be sent before the rest of a request: the `100 Continue` that its client waits for.
    """

    def __init__(self, max_body_bytes: int, begun: bytes) -> None:
        self._max_body_bytes = max_body_bytes
        self._http = h11.Connection(h11.SERVER)
        self._method = b""
        self._head: h11.Request | None = None
        self._body = bytearray()
        self.outgoing = b""
        if begun:
            self._http.receive_data(begun)

    @property
    def pending(self) -> bool:
        """Whether the beginning of another request is here already."""
        return self._head is not None or bool(self._http.trailing_data[0])

    @property
    def in_body(self) -> bool:
        """Whether a body is on its way that did not come with its head."""
        return self._head is not None

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def receive(self, peer: socket.socket) -> bool:
        """Read once; False when the peer sends no more. Raises `OSError`: `BlockingIOError` when nothing is there."""
        data = peer.recv(CHUNK)
        if data:
            self._http.receive_data(data)
        return bool(data)

    def end(self) -> None:
        """The peer sends no more: `request` then says what that cuts."""
        self._http.receive_data(b"")

    def request(self) -> Request | None:
        """The next request, None while some of it is missing or when none follows. Raises `RequestError`."""
        if self.reusable:
            self._http.start_next_cycle()
        self._method = b""  # what is refused before its method is known is not answered as the request before it
        try:
            return self._request()
        except h11.RemoteProtocolError as error:
            raise RequestError(error.error_status_hint, f"not HTTP: {error}") from None

    def write(self, response: Response, *, close: bool) -> bytes:
        """The bytes of a response, none where the protocol allows none any more; `close` says that it is the last."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return b""
        headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        headers += response.headers
        if close or self._http.their_state is not h11.DONE:
            headers.append(("connection", "close"))
        return self._bytes(
            h11.Response(status_code=response.status, headers=headers),
            h11.Data(data=b"" if self._method == b"HEAD" else response.body),
            h11.EndOfMessage(),
        )

    def _request(self) -> Request | None:
        if self._head is None and not self._begin():
            return None
        assert self._head is not None
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._max_body_bytes:
                    raise self._too_large()
                continue
            head, body, self._head, self._body = self._head, bytes(self._body), None, bytearray()
            return Request(head.method.decode(), head.target.decode("latin-1"), _headers(head), body)
        if self._http.they_are_waiting_for_100_continue:
            self.outgoing += self._bytes(h11.InformationalResponse(status_code=100, headers=[]))
        return None

    def _begin(self) -> bool:
        """Whether the head of a request is there, which may have a body."""
        event = self._http.next_event()
        if not isinstance(event, h11.Request):
            return False
        self._method = event.method
        length = _headers(event).get("content-length", "0")
        if len(length) > _MAX_DIGITS or int(length) > self._max_body_bytes:
            raise self._too_large()
        self._head = event
        return True

    def _bytes(self, *events: Any) -> bytes:
        return b"".join(self._http.send(event) or b"" for event in events)

    def _too_large(self) -> RequestError:
        self._head = None
        return RequestError(413, f"the body is over {self._max_body_bytes} bytes")


def _headers(head: h11.Request) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
