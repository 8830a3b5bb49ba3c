"""Signs payloads with ed25519 in a DSSE envelope. Holds no policy of who may sign what; verifies nothing.

`Signer` is the interface of whatever signs: today a key file; a hardware token would be another implementation.
"""

import hashlib
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry_agent.wire.envelope import Envelope, Signature, signing_bytes


class Signer(Protocol):
    """Whatever can sign a payload."""

    @property
    def keyid(self) -> str:
        """sha256 of the raw public key, in hex."""

    def sign(self, payload_type: str, payload: bytes) -> Envelope:
        """The payload with its signature; the payload's bytes are kept as they are."""


class Ed25519Signer:
    """Signs with one private key held in memory."""

    __slots__ = ("_key", "keyid", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = raw_public(key.public_key())
        self.keyid = hashlib.sha256(self.public).hexdigest()

    def sign(self, payload_type: str, payload: bytes) -> Envelope:
        """See `Signer.sign`."""
        signature = Signature(self.keyid, self._key.sign(signing_bytes(payload_type, payload)))
        return Envelope(payload_type, payload, (signature,))


def raw_public(key: Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key (RFC 8032)."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
