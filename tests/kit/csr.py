"""Keys and CSRs as a board makes them, and as an attacker does. No tests here."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


def device_key(curve=None):
    return ec.generate_private_key(curve or ec.SECP256R1())


def csr_of(key, common_name="", extensions=(), hash_kind=None) -> bytes:
    """The DER of a CSR of this key, under any name and with any extensions."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None).public_bytes(Encoding.DER)
    always_the_same = True if isinstance(key, ec.EllipticCurvePrivateKey) else None
    made = builder.sign(key, hash_kind or hashes.SHA256(), ecdsa_deterministic=always_the_same)
    return made.public_bytes(Encoding.DER)
