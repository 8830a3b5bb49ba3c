"""Every key, certificate and revocation list of a home, with what is wrong with each. Reads files; changes nothing.

What a file is, is told by its content; what it is for, by its place. Keys are read only to know them by their public
half, and nothing of them is returned.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from skerry_host.identity import key_files
from skerry_host.identity.csr import key_sha256
from skerry_host.identity.errors import DAMAGE, IdentityError
from skerry_host.identity.files import renewal_due

FOLDERS = ("keys", "identity", "devices")
ROLES: dict[str, str] = {
    "keys/release": "signs releases",
    "keys/director": "signs orders",
    "identity/root/root": "fleet root: signs issuing CAs",
    "identity/root": "fleet root: what devices pin",
    "identity/enrolment/": "enrolment CA: signs claims and birth certificates",
    "identity/issuing/": "issuing CA: signs devices",
    "identity/plane/plane": "the plane at the broker",
    "identity/plane/server": "the broker towards everybody",
    "identity/plane/canary": "tries whether the broker has the newest rules",
    "identity/plane/old": "carries over who comes the old way",
    "identity/plane/fleet-ca": "copy of the root for devices",
    "identity/plane/broker-ca": "CAs by which the broker knows devices",
    "identity/plane/enrolment-ca": "CAs by which the broker knows who enrols",
    "devices/": "goes onto a board",
}
"""Places below the home, most particular first, and what lies there is for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in one file. `path` below the home; `mode` as `chmod` takes it; `until` in seconds since 1970."""

    path: str
    kind: str
    role: str
    mode: str
    fingerprint: str = ""
    until: float | None = None
    warning: str = ""


def inventory(home: Path, now: float) -> list[Entry]:
    """All of a home, by path, keys before certificates where both are in one file."""
    found = [path for name in FOLDERS for path in (home / name).rglob("*") if path.suffix in {".key", ".pem", ".next"}]
    return _matched([entry for path in sorted(found) if path.is_file() for entry in _entries(home, path, now)])


def root_is_away(entries: list[Entry]) -> bool:
    """Whether the root key was taken out of the home, as it should be."""
    return not any(entry.path == "identity/root/root.key" for entry in entries)


def _entries(home: Path, path: Path, now: float) -> Iterator[Entry]:
    place = str(path.relative_to(home))
    about = (place, next((role for start, role in ROLES.items() if place.startswith(start)), ""))
    mode = f"{path.stat().st_mode & 0o7777:04o}"
    try:
        pem = key_files.read(path)
    except IdentityError as error:
        yield Entry(place, "unknown", about[1], mode, warning=error.message)
        return
    yield from _keys(pem, about, mode)
    yield from _certificates(pem, about, mode, now)
    if b"-----BEGIN X509 CRL-----" in pem:
        yield Entry(place, "list", "who is refused by certificate", mode)


def _keys(pem: bytes, about: tuple[str, str], mode: str) -> Iterator[Entry]:
    if b"PRIVATE KEY-----" not in pem:
        return
    place, role = about
    if key_files.is_sealed(pem):
        yield Entry(place, "key under a passphrase", role, mode)
        return
    exposed = f"others can read it: chmod 600 {place}" if int(mode, 8) & 0o077 else ""
    try:
        yield Entry(place, "key", role, mode, _fingerprint(load_pem_private_key(pem, None).public_key()), None, exposed)
    except DAMAGE:
        yield Entry(place, "key", role, mode, warning="damaged: put it back from a backup")


def _certificates(pem: bytes, about: tuple[str, str], mode: str, now: float) -> list[Entry]:
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        return []
    place, role = about
    try:
        first = key_files.parse_certificates(pem, place)[0]
    except IdentityError:
        return [Entry(place, "certificate", role, mode, warning="damaged: put it back from a backup")]
    until = first.not_valid_after_utc.timestamp()
    return [Entry(place, "certificate", role, mode, _fingerprint(first.public_key()), until, _age(first, place, now))]


def _age(certificate: x509.Certificate, place: str, now: float) -> str:
    if place.endswith(key_files.NEXT):
        return "signs from the next start of `skerry serve` on"
    if certificate.not_valid_after_utc.timestamp() <= now:
        return "it has expired"
    if place.startswith("identity/issuing/") and now >= renewal_due(certificate):
        return "make the next one with `skerry keys renew-issuing`"
    return ""


def _matched(entries: list[Entry]) -> list[Entry]:
    """The same, with a word on each certificate that is not of the key beside it: under its name, or in its file."""
    keys: dict[str, set[str]] = {}
    for entry in entries:
        if entry.kind == "key" and entry.fingerprint:
            keys.setdefault(_stem(entry.path), set()).add(entry.fingerprint)
    return [
        replace(entry, warning="it is not of the key beside it")
        if entry.kind == "certificate" and entry.fingerprint not in (keys.get(_stem(entry.path)) or {entry.fingerprint})
        else entry
        for entry in entries
    ]


def _stem(path: str) -> str:
    """`identity/issuing/2` of `identity/issuing/2.pem.next`."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _fingerprint(key: object) -> str:
    """Of P-256 the hash by which topics and records know a key, of ed25519 the id that signatures bear."""
    if isinstance(key, EllipticCurvePublicKey):
        return key_sha256(key)
    if isinstance(key, Ed25519PublicKey):
        return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    return ""
