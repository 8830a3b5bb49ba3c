"""TLS as a client, the same for the agent and the host: what it is made of (files), and why it fails, in words.

Reads the files of an authority, a certificate and a key, and any file that only its owner may read. Connects to
nothing, and knows neither MQTT nor what to do about a failure: each side has its own hints, for its own options.
Passphrases are not asked for: nobody is there to answer, so a key that has one is refused. No error has more of a file
in it than its name.
"""

import os
import ssl
import stat
import time
from pathlib import Path
from typing import Literal

from msgspec import Struct

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python's ssl has no name for."""

KINDS = frozenset(
    {
        "untrusted_authority",
        "certificate_expired",
        "certificate_not_yet_valid",
        "wrong_hostname",
        "certificate_wanted",
        "certificate_refused",
        "own_certificate_expired",
        "own_certificate_revoked",
        "closed_after_handshake",
        "no_tls",
        "tls_wanted",
        "tls_failed",
        "unusable_authority",
        "unusable_certificate",
        "unusable_key",
    }
)
"""Every kind that `TlsError` and `of_error` give; each side has a hint for each."""

_VERIFY = {9: "certificate_not_yet_valid", 10: "certificate_expired", 62: "wrong_hostname", 64: "wrong_hostname"}
"""X509_V_ERR of OpenSSL that are no question of whom to trust."""

_ALERTS = (
    ("certificate required", "certificate_wanted"),
    ("certificate expired", "own_certificate_expired"),
    ("certificate revoked", "own_certificate_revoked"),
    ("unknown ca", "certificate_refused"),
    ("bad certificate", "certificate_refused"),
    ("certificate unknown", "certificate_refused"),
    ("unsupported certificate", "certificate_refused"),
    ("access denied", "certificate_refused"),
    ("decrypt error", "certificate_refused"),
)
"""What a broker says of our certificate; in TLS 1.3 only after the handshake, when something is sent or read."""

_MEANT = {
    "certificate_wanted": "it wants a certificate",
    "own_certificate_expired": "the certificate that it was shown has expired",
    "own_certificate_revoked": "the certificate that it was shown is revoked",
    "certificate_refused": "it does not accept the certificate that it was shown",
}


Phase = Literal["handshake", "greeting", "session"]
"""When a connection failed: in TLS' handshake, before the broker has accepted it, or after."""


class TlsFiles(Struct, frozen=True):
    """What a client's TLS is made of. `ca`: whom to believe, the system's authorities where it is None."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class TlsError(OSError):
    """A file that cannot be used; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


def context(files: TlsFiles, *, check_time: bool = True) -> ssl.SSLContext:
    """A client's context. Raises `TlsError` that names the file which cannot be used.

    Without `check_time`, dates of certificates are not looked at: for a device whose clock cannot be right, and only
    with an authority of its own.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.ca is None:
        made.load_default_certs()
    else:
        _believe(made, files.ca)
        if not check_time:
            made.verify_flags |= NO_CHECK_TIME
    if files.cert is not None or files.key is not None:
        _identify(made, files.cert, files.key)
    return made


def of_error(error: OSError, now: float, phase: Phase) -> tuple[str, str] | None:
    """(kind, what happened) of an error that is one of TLS, None for others; `now` is what this machine's clock says.

    A broker that just closes after the handshake most probably minds our certificate: in TLS 1.3 it looks at that
    last, and what it says of it may be lost with the connection.
    """
    if isinstance(error, TlsError):
        return error.kind, error.detail
    if isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return of_close(phase) if phase != "session" else None
    return _of_ssl(error, now) if isinstance(error, ssl.SSLError) else None


def of_close(phase: Literal["handshake", "greeting"]) -> tuple[str, str]:
    """The same of a TLS connection that the broker has closed without a word."""
    if phase == "handshake":
        return "no_tls", "the broker closes the connection in the TLS handshake"
    return "closed_after_handshake", "the broker closes the connection right after the TLS handshake"


def _of_ssl(error: ssl.SSLError, now: float) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_verification(error, now)
    reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    for words, kind in _ALERTS:
        if words in reason:
            return kind, f"the broker ends the TLS connection: {_MEANT[kind]} ({reason})"
    if "handshake failure" in reason:
        return "certificate_wanted", f"the broker ends the TLS handshake: {reason}"
    if any(words in reason for words in ("wrong version number", "unexpected eof", "record layer failure")):
        return "no_tls", f"the TLS handshake fails: {reason}"
    return "tls_failed", f"the TLS handshake fails: {reason}"


def is_alert(first: bytes) -> bool:
    """Whether the first bytes of an answer to something that was not TLS are TLS's: an alert, of any version."""
    return len(first) > 0 and first[0] == 0x15 and first[1:2] in {b"", b"\x03"}


def _of_verification(error: ssl.SSLCertVerificationError, now: float) -> tuple[str, str]:
    kind = _VERIFY.get(error.verify_code, "untrusted_authority")
    match kind:
        case "certificate_expired" | "certificate_not_yet_valid":
            clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
            words = f"{error.verify_message}, by the clock here, which says {clock}"
        case "untrusted_authority":
            words = f"it is signed by an unknown authority ({error.verify_message})"
        case _:
            words = error.verify_message
    return kind, f"the broker's certificate is not accepted: {words}"


def _believe(made: ssl.SSLContext, ca: Path) -> None:
    believe(made, _read(ca, "unusable_authority"), str(ca))


def believe(made: ssl.SSLContext, pem: bytes, where: str) -> None:
    """Take whoever is signed by an authority in PEM text for real; raises `TlsError` where there is none."""
    try:
        made.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):  # the latter for an empty one
        raise TlsError("unusable_authority", f"{where} holds no certificate in PEM") from None
    if not made.cert_store_stats()["x509_ca"]:
        raise TlsError("unusable_authority", f"{where} holds no certificate of an authority")


def _identify(made: ssl.SSLContext, cert: Path | None, key: Path | None) -> None:
    if cert is None or key is None:
        given, kind = ("key", "unusable_certificate") if cert is None else ("certificate", "unusable_key")
        other = "certificate" if cert is None else "key"
        raise TlsError(kind, f"there is a {given} and no {other}: both are needed")
    if b"-----BEGIN CERTIFICATE-----" not in _read(cert, "unusable_certificate"):
        raise TlsError("unusable_certificate", f"{cert} holds no certificate in PEM")
    require_usable_key(key)
    try:
        made.load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise TlsError("unusable_key", _of_pair(error, cert, key)) from None
    except OSError as error:  # gone since it was read
        raise TlsError("unusable_key", f"{cert} or {key} cannot be read: {error.strerror}") from None


def require_usable_key(key: Path) -> None:
    """Raises `TlsError` where a key cannot be read, others may read it too, or it needs a passphrase."""
    text = read_private(key, "unusable_key")
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        raise TlsError("unusable_key", f"{key} is encrypted with a passphrase, which nobody is here to give")
    if b"PRIVATE KEY-----" not in text:
        raise TlsError("unusable_key", f"{key} holds no private key in PEM")


def read_private(path: Path, kind: str) -> bytes:
    """What is in a secret's file; raises `TlsError` of this kind where it cannot be read, or others may read it too.

    As PostgreSQL has it: root may let a group read its keys, as systemd's credentials and Debian's ssl-cert do.
    """
    text = _read(path, kind)
    about = path.stat()
    mode = stat.S_IMODE(about.st_mode)
    if is_too_open(mode, about.st_uid):
        raise TlsError(kind, f"{path} has mode {mode:04o}, so others than its owner may use it: chmod 0600")
    return text


def is_too_open(mode: int, owner: int) -> bool:
    """Whether others than its owner may use a file; root's may be read by a group."""
    return bool(mode & 0o077 & ~(0o640 if owner == 0 else 0o600))


def _of_pair(error: ssl.SSLError, cert: Path, key: Path) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "mismatch" in reason:
        return f"the key in {key} is not that of the certificate in {cert}"
    return f"{cert} and {key} cannot be used: {reason}"


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(kind, f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    except ValueError:  # a zero character
        raise TlsError(kind, f"{path} is no name of a file") from None


def _no_passphrase() -> bytes:
    return b""
