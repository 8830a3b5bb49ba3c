"""TLS for the inference API's TCP connections, which never wait: a handshake goes on as far as what has come lets it.

Imported only where agent.toml gives a certificate. Asks no client for one: the token says who may.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from skerry_agent.runner.http.watched_file import WatchedFile

T = TypeVar("T")


class TlsSocket(ssl.SSLSocket):
    """A socket that says `BlockingIOError` where TLS has to wait, as one without TLS does."""

    greeted = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As of a socket."""
        return self._at_once(lambda: super(TlsSocket, self).recv(buflen, flags))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As of a socket."""
        return self._at_once(lambda: super(TlsSocket, self).recv_into(buffer, nbytes, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        """As of a socket."""
        return self._at_once(lambda: super(TlsSocket, self).send(data, flags))

    def shutdown(self, how: int) -> None:
        """Say within TLS that nothing more comes, then without; what the peer still sends is read as it comes."""
        with contextlib.suppress(OSError, ValueError):
            self.unwrap()
        super().shutdown(how)

    def _at_once(self, call: Callable[[], T]) -> T:
        try:
            if not self.greeted:
                self.do_handshake()
                self.greeted = True
            return call()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


class Tls:
    """Wraps accepted sockets. A certificate that is replaced, after a renewal, counts from the next connection on."""

    def __init__(self, cert: Path, key: Path, issue: Callable[[str | None], None]) -> None:
        self._files, self._issue = (WatchedFile(cert), WatchedFile(key)), issue
        self._context: ssl.SSLContext | None = None

    def wrap(self, peer: socket.socket) -> socket.socket:
        """A socket that has the peer's descriptor. Raises `OSError` where the certificate cannot be used."""
        cert, key = self._files
        if cert.changed() | key.changed():  # both are to be looked at
            self._context = self._load()
        if self._context is None:
            raise ssl.SSLError("there is no usable certificate")
        peer.setblocking(False)
        return self._context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)

    def _load(self) -> ssl.SSLContext | None:
        cert, key = (file.path for file in self._files)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.sslsocket_class = TlsSocket
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            self._issue(f"tls_cert {cert} and tls_key {key} cannot be used: {why}; nobody is let in over TCP")
            return None
        self._issue(None)
        return context


def _no_password() -> str:
    """Else OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted")
