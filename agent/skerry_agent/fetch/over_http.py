"""Downloads blobs by HTTP byte ranges. A separate module, so that only devices that use it import the HTTP client."""

import contextlib
import http.client
import socket
import threading
from urllib.parse import urlsplit

from skerry_agent.fetch.sources import ThreadedSource
from skerry_agent.ports.interfaces import Post
from skerry_agent.wire.asking import Piece
from skerry_agent.wire.blobs import BlobRef

TIMEOUT_S = 15.0
TRIES = 3
RETRY_S = 1.0

SLOWEST_BYTES_S = 4000
"""A piece that arrives more slowly than this, after a start-up allowance, is requested from the next source."""


class SlowError(ConnectionError):
    """A server that answers, but too slowly for it to be of use: asking it again would take as long."""


class Http(ThreadedSource):
    """Byte ranges of `<base>/<sha256>`, and `<base>/<sha256>/digests`, over one kept-alive connection."""

    transport = "http"

    def __init__(self, post: Post, base: str) -> None:
        """Raises `ValueError` where nothing can be reached at `base`, whatever the network."""
        super().__init__(post)
        self._parts = urlsplit(base)
        (self._parts.hostname or "").encode("idna")
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname or self._parts.port == 0:
            raise ValueError(f"{base} is not an HTTP address")
        self._connection: http.client.HTTPConnection | None = None

    def read(self, ref: BlobRef, piece: Piece) -> bytes:
        """See `ThreadedSource`; a connection that breaks is opened again a few times."""
        for _ in range(TRIES - 1):
            try:
                return self._read(ref, piece)
            except SlowError:
                raise
            except OSError:
                self._closed.wait(RETRY_S)
        return self._read(ref, piece)

    def end(self) -> None:
        """See `ThreadedSource`."""
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
        cutoff = _Cutoff(TIMEOUT_S + size / SLOWEST_BYTES_S)
        try:
            connection = self._connected()
            connection.request("GET", path, headers=headers)
            cutoff.over(connection.sock)
            response = connection.getresponse()
            if response.status != (206 if "Range" in headers else 200):
                raise ConnectionError(f"{self._parts.netloc} answers {response.status} for {path}")
            body = response.read(size)
            if response.read(1) or len(body) != size:
                raise ConnectionError(f"{self._parts.netloc} sends another length for {path}")
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            if cutoff.has_cut:
                raise SlowError(f"{self._parts.netloc} sends less than {SLOWEST_BYTES_S} B/s") from None
            raise error if isinstance(error, OSError) else ConnectionError(repr(error)) from None
        finally:
            cutoff.end()
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


class _Cutoff:
    """Cuts a connection after a limit, because the socket's own timeout restarts with every byte."""

    def __init__(self, limit_s: float) -> None:
        self.has_cut = False
        self._timer = threading.Timer(limit_s, self._cut)
        self._timer.daemon = True

    def over(self, watched: socket.socket) -> None:
        """Begin."""
        self._socket = watched
        self._timer.start()

    def end(self) -> None:
        """The answer is there, or will not be used."""
        self._timer.cancel()

    def _cut(self) -> None:
        self.has_cut = True
        with contextlib.suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)
