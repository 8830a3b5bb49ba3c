"""Verification of signed messages against the keys this device believes. Imported by the updater process only.

Today the `Trust` port stands on local ed25519 keys: `trust.json` maps a role (`release`, `director`) to raw public
keys in base64. It does not know expiry or key rotation.
"""

import base64
import binascii
import hashlib
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope, signing_bytes
from skerry_agent.wire.errors import SkerryError


class TrustError(SkerryError):
    """Something is not signed by whom it should be."""

    code = "untrusted"


class KeyTrust:
    """Trusts the keys of a trust.json."""

    def __init__(self, keys: dict[str, dict[str, Ed25519PublicKey]]) -> None:
        self._keys = keys

    @classmethod
    def from_file(cls, path: Path) -> "KeyTrust":
        """Read trust.json. Raises `TrustError` when it is missing or holds something else than keys."""
        try:
            roles = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
            return cls({role: dict(map(_key, texts)) for role, texts in roles.items()})
        except (OSError, msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise TrustError(f"{path} holds no usable keys: {error}", hint="provision the device again") from None

    def verify(self, raw: bytes, payload_type: str, role: str) -> bytes:
        """The payload of an envelope of that type signed by a key of `role`. Raises `TrustError`, `WireError`."""
        envelope = codec.decode(raw, Envelope)
        if envelope.payload_type != payload_type:
            raise TrustError(f"expected {payload_type}, got {envelope.payload_type[:80]!r}", code="wrong_type")
        message = signing_bytes(payload_type, envelope.payload)
        keys = self._keys.get(role, {})
        for signature in envelope.signatures:
            key = keys.get(signature.keyid)
            if key is not None and _valid(key, signature.sig, message):
                return envelope.payload
        raise TrustError(f"no valid signature by a key of role {role}", hint="was this device provisioned elsewhere?")


def _key(text: str) -> tuple[str, Ed25519PublicKey]:
    raw = base64.b64decode(text, validate=True)
    return hashlib.sha256(raw).hexdigest(), Ed25519PublicKey.from_public_bytes(raw)


def _valid(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
