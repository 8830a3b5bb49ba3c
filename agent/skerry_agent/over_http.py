"""Blobs by HTTP byte ranges. A module of its own: only devices that use it import the HTTP client."""

import http.client
from urllib.parse import urlsplit

from skerry_agent.ports import Post
from skerry_agent.sources import Reading
from skerry_agent.wire.asking import Piece
from skerry_agent.wire.blobs import BlobRef

TIMEOUT_S = 15.0
TRIES = 3
RETRY_S = 1.0


class Http(Reading):
    """Byte ranges of `<base>/<sha256>`, and `<base>/<sha256>/digests`, over one kept-alive connection."""

    way = "http"

    def __init__(self, post: Post, base: str) -> None:
        """Raises `ValueError` where nothing can be reached at `base`, whatever the network."""
        super().__init__(post)
        self._parts = urlsplit(base)
        (self._parts.hostname or "").encode("idna")
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname or self._parts.port == 0:
            raise ValueError(f"{base} is no http address")
        self._connection: http.client.HTTPConnection | None = None

    def read(self, ref: BlobRef, piece: Piece) -> bytes:
        """See `Reading`; a connection that breaks is opened again a few times."""
        for _ in range(TRIES - 1):
            try:
                return self._read(ref, piece)
            except OSError:
                self._closed.wait(RETRY_S)
        return self._read(ref, piece)

    def end(self) -> None:
        """See `Reading`."""
        self._disconnect()

    def _read(self, ref: BlobRef, piece: Piece) -> bytes:
        path = f"{self._parts.path.rstrip('/')}/{ref.sha256}"
        size = 32 * ref.chunks if piece is None else ref.chunk_size(piece)
        headers = {}
        if piece is None:
            path += "/digests"
        else:
            start = piece * ref.chunk_bytes
            headers["Range"] = f"bytes={start}-{start + size - 1}"
        return self._get(path, headers, size)

    def _get(self, path: str, headers: dict[str, str], size: int) -> bytes:
        """The body, which must be `size` bytes long: no more is read of a server that sends without end."""
        try:
            connection = self._connected()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status != (206 if "Range" in headers else 200):
                raise ConnectionError(f"{self._parts.netloc} answers {response.status} for {path}")
            body = response.read(size)
            if response.read(1) or len(body) != size:
                raise ConnectionError(f"{self._parts.netloc} sends another length for {path}")
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise error if isinstance(error, OSError) else ConnectionError(repr(error)) from None
        return body

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
