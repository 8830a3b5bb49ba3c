"""A request and a response as plain data, so that routes need no socket. Knows no protocol."""

from collections.abc import Mapping

from msgspec import Struct

from skerry_agent.runner.tensor import Data
from skerry_agent.wire.codec import encode

JSON = "application/json"
BINARY = "application/octet-stream"
MAX_MESSAGE = 500


class Request(Struct, frozen=True):
    """What a client asks. Header names are lower case. `uid` is the user behind a Unix socket, None elsewhere."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: Data = b""
    uid: int | None = None


class Response(Struct, frozen=True):
    """What it gets."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class RequestError(Exception):
    """The client's request cannot be answered: an HTTP status, and one line that becomes `{"error": ...}`.

    What it quotes of the request may be anything, so it is made printable and cut here.
    """

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        line = "".join(letter if letter.isprintable() else " " for letter in message[:MAX_MESSAGE])
        super().__init__(line)
        self.response = Response(status, encode({"error": line}), headers=headers)


def json_response(value: object, status: int = 200) -> Response:
    """A response with a JSON body."""
    return Response(status, encode(value))
