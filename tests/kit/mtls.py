"""A real mosquitto that takes clients by certificate, and a client that says how it was received. No tests here."""

import socket
import ssl
import subprocess
from pathlib import Path

from skerry_host.identity.files import PlaneFiles
from skerry_host.plane.broker.broker import free_port
from tests.kit.programs import require_program
from tests.kit.waiting import eventually, listens

_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
"""MQTT 3.1.1: clean session, no client id (the certificate gives it), 60 s."""

NO_TIME_CHECK = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: what a device without a clock sets."""


class MutualTls:
    """One listener for `files`; `start` it with `with`."""

    def __init__(self, folder: Path, files: PlaneFiles, chain: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._program = free_port(), require_program("mosquitto", "mosquitto")
        self._conf, self._log = folder / "mosquitto.conf", folder / "mosquitto.log"
        lines = [f"listener {self.port} 127.0.0.1", "user root", "allow_anonymous false", f"log_dest file {self._log}"]
        lines += [f"cafile {chain or files.chain}", f"certfile {files.server_cert}", f"keyfile {files.server_key}"]
        lines += [f"crlfile {files.crl}", "require_certificate true", "use_identity_as_username true"]
        self._conf.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> "MutualTls":
        self._process = subprocess.Popen([self._program, "-c", str(self._conf)], stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: self._process.poll() is not None or listens(self.port), "mosquitto listens")
            assert self._process.poll() is None, self._log.read_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def reload(self) -> None:
        """As an operator does after a file has changed; returns when mosquitto says so."""
        said = self._said()
        self._process.send_signal(1)
        eventually(lambda: self._said() > said, "mosquitto has read its files again")

    def _said(self) -> int:
        return self._log.read_text().count("Reloading config")


def received(port: int, ca: Path, certificate: Path | None, *, host: str = "127.0.0.1", clockless: bool = False) -> str:
    """How a client with this certificate (chain and key in one file) is received: `accepted`, or what is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if clockless:
        context.verify_flags |= NO_TIME_CHECK
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            tls.sendall(_CONNECT)
            return {b"\x20\x02\x00\x00": "accepted"}.get(tls.recv(4), "closed")
    except (ssl.SSLError, ConnectionError) as error:
        return str(error)


def server_certificate(port: int) -> bytes:
    """The DER of what the server shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as tls:
        return tls.getpeercert(binary_form=True) or b""
