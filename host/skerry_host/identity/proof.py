"""Whether a key has signed something: by the certificate that the host gave for it. Pure."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey

from skerry_host.identity.errors import IdentityError
from skerry_host.identity.key_files import parse_certificates


def is_signed(proof: bytes, text: bytes, pem: bytes) -> bool:
    """Whether `proof` (ECDSA with SHA-256, DER) is of this text, by the key of the first certificate in `pem`."""
    try:
        key = parse_certificates(pem, "the registry")[0].public_key()
        if isinstance(key, EllipticCurvePublicKey):
            key.verify(proof, text, ECDSA(hashes.SHA256()))
            return True
    except (InvalidSignature, IdentityError):
        pass
    return False
