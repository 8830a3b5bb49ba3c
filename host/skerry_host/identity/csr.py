"""Reads a certificate signing request (PKCS#10, DER) of somebody who is not trusted.

Only the key is taken from it, and the proof that the asker has it. Names, extensions and attributes are never read:
what a certificate says is the host's own record. One kind of key is taken, P-256, which every TLS stack and TPM has.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry_agent.wire.plain_text import cleaned
from skerry_host.identity.errors import DAMAGE, CsrError

MAX_CSR_BYTES = 4096
"""One of P-256 has about 250 bytes; a larger text is refused before it is parsed."""


@dataclass(frozen=True, slots=True)
class Csr:
    """A request whose signature is good. `key_sha256` is of the key's SubjectPublicKeyInfo, in hex."""

    key: EllipticCurvePublicKey
    key_sha256: str
    subject: str  # what it calls itself, cleaned, for a log; nothing may depend on it


def read_csr(der: bytes) -> Csr:
    """The request in `der`; raises `CsrError` with what is wrong with it."""
    if len(der) > MAX_CSR_BYTES:
        raise CsrError(f"the CSR has {len(der)} bytes, over the limit of {MAX_CSR_BYTES}")
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
    except DAMAGE as error:
        raise CsrError(f"not a CSR in DER: {_first_line(error)}") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise CsrError(f"the CSR's key is {_kind(key)}, not P-256", hint="make the key with prime256v1")
    _check_signature(request)
    return Csr(key, key_sha256(key), _subject(request))


def key_sha256(key: EllipticCurvePublicKey) -> str:
    """The sha256 of a key's SubjectPublicKeyInfo (DER, uncompressed point), in hex: by it a key is known."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        weak = not isinstance(request.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)
        good = not weak and request.is_signature_valid
    except DAMAGE as error:
        raise CsrError(f"the CSR's signature cannot be checked: {_first_line(error)}") from None
    if not good:
        raise CsrError(f"the CSR's signature is {'of a weak kind' if weak else 'not by its key'}")


def _subject(request: x509.CertificateSigningRequest) -> str:
    try:
        return cleaned(request.subject.rfc4514_string(), 100)
    except ValueError:  # names are parsed only when asked for
        return ""


def _kind(key: object) -> str:
    return key.curve.name if isinstance(key, EllipticCurvePublicKey) else type(key).__name__.removesuffix("PublicKey")


def _first_line(error: Exception) -> str:
    return cleaned(str(error).partition("\n")[0] or type(error).__name__, 120)
