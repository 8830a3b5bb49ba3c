"""Readers of what a board that nobody knows yet sends: a CSR in DER, and what the authority reads back of its own."""

import base64

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skerry_host.identity import key_files, profile
from skerry_host.identity.csr import read_csr
from skerry_host.identity.errors import CsrError, IdentityError
from skerry_host.identity.files import parse_lists, renewal_due
from tests.kit.csr import csr_of

TOKENS = (b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 200, b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\xa0\x00")


def csr_seeds() -> list[bytes]:
    """CSRs of keys and names of several kinds, the same ones each time."""
    key = ec.derive_private_key(7, ec.SECP256R1())
    ca = x509.BasicConstraints(ca=True, path_length=None)
    others = (ec.derive_private_key(7, ec.SECP384R1()), ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    good = [csr_of(key), csr_of(key, "@plane"), csr_of(key, "edge-17", [ca]), csr_of(key, "ü" * 30)]
    return [*good, *(csr_of(other, "edge-17") for other in others)]


def pem_seeds() -> list[bytes]:
    key = ec.derive_private_key(7, ec.SECP256R1())
    return [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]


def certificate_seeds() -> list[bytes]:
    """A certificate in DER; wrapped in PEM only where it is read, so that what is damaged is the certificate."""
    key = ec.derive_private_key(7, ec.SECP256R1())
    return [profile.root_certificate(key, "00112233445566", 1_800_000_000.0).public_bytes(Encoding.DER)]


def list_seeds() -> list[bytes]:
    key = ec.derive_private_key(7, ec.SECP256R1())
    signed = profile.Signed(profile.root_certificate(key, "00112233445566", 1_800_000_000.0), key)
    return [profile.revocation_list(signed, [(7, 1.8e9), (8, 1.9e9)], 1_800_000_000.0).public_bytes(Encoding.DER)]


def pem(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n".encode()


def read_certificate(der: bytes) -> None:
    """As far as the authority and `skerry keys` look into one."""
    for certificate in key_files.parse_certificates(pem("CERTIFICATE", der), "issuing/1.pem"):
        renewal_due(certificate)
        profile.server_names(certificate)
        profile.fleet_of(certificate)


def read_list(der: bytes) -> None:
    parse_lists(pem("X509 CRL", der), "revoked.crl.pem")


READERS = [
    ("csr", csr_seeds, lambda: read_csr, (CsrError,), TOKENS),
    ("key-file", pem_seeds, lambda: lambda raw: key_files.parse_key(raw, "issuing/1.key"), (IdentityError,)),
    ("certificate", certificate_seeds, lambda: read_certificate, (IdentityError,), TOKENS),
    ("revocation-list", list_seeds, lambda: read_list, (IdentityError,), TOKENS),
]
