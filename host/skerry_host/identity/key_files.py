"""The authority's key files: PKCS#8 in PEM, for their owner only, the root's under a passphrase if wished.

A key that others can read is refused, not mended: it may have been copied already, and whoever opened it should know.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from skerry_host.identity.errors import DAMAGE, IdentityError
from skerry_host.identity.pkcs8 import encrypted_pem

MAX_BYTES = 64 * 1024
ROOT = "root"
KEY, CERTIFICATE = ".key", ".pem"
NEXT = ".next"
"""Ends the name of the certificate of an issuing CA that does not sign yet."""


def read(path: Path, most: int = MAX_BYTES) -> bytes:
    """At most so many bytes of a key, a certificate or a list; raises `IdentityError` that names the file."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise IdentityError(f"{path} is missing", hint="put it back from a backup", code="key_missing") from None
    except OSError as error:
        raise IdentityError(f"cannot read {path}: {error.strerror}", code="key_unreadable") from None


def load_key(path: Path, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """The private key in a file; raises `IdentityError` where it is missing, open to others, locked or not one."""
    pem = read(path)
    if not is_sealed(pem):
        check_private(path)
    return parse_key(pem, str(path), passphrase)


def is_sealed(pem: bytes) -> bool:
    """Whether it is a private key under a passphrase."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem


def check_private(path: Path) -> None:
    """Raise `IdentityError` where others than the owner can read it."""
    try:
        opened = path.stat().st_mode & 0o077
    except OSError:
        return  # reading it says what is wrong
    if opened:
        raise IdentityError(
            f"the key {path} can be read by others", hint=f"find out who did, then `chmod 600 {path}`", code="key_mode"
        )


def parse_key(pem: bytes, where: str, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """The private key in PEM text; raises `IdentityError` that names `where` it was."""
    try:
        key = load_pem_private_key(pem, password=passphrase)
    except TypeError:  # cryptography's word for: encrypted and no passphrase, or the other way round
        if passphrase is not None:
            return parse_key(pem, where)
        hint = "give its passphrase with --passphrase-file"
        raise IdentityError(f"the key {where} is under a passphrase", hint=hint, code="passphrase") from None
    except DAMAGE:
        if passphrase is not None and is_sealed(pem):
            raise IdentityError(f"the passphrase does not open {where}", code="passphrase") from None
        raise IdentityError(f"{where} holds no private key in PEM", code="key_damaged") from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise IdentityError(f"the key {where} is not of the fleet's kind, P-256", code="key_damaged")


def key_pem(key: EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """A private key as PEM, encrypted if there is a passphrase."""
    if passphrase is not None:
        return encrypted_pem(key, passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Every certificate in a PEM file, at least one; raises `IdentityError` that names the file."""
    return parse_certificates(read(path), str(path))


def parse_certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    """Every certificate in PEM text, at least one; raises `IdentityError` that names `where` it was."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:  # their parts are parsed only when asked for
            _ = certificate.public_key(), certificate.extensions, certificate.subject, certificate.issuer
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except DAMAGE:
        raise IdentityError(f"{where} holds no certificate in PEM", code="certificate_damaged") from None
    return certificates


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, in the order given."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
