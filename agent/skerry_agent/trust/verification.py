"""Verification of signed messages against the keys this device trusts. Imported by the updater process only.

Implements the `Trust` port with local ed25519 keys: `trust.json` maps a role (`release`, `director`) to raw public keys
in base64. It does not know expiry or key rotation.
"""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from skerry_agent.state import backup_copies
from skerry_agent.trust.key_file import TrustError, check_form, key_id, parse_keys, unsigned
from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope, signing_bytes


class KeyTrust:
    """Trusts the keys of a trust.json."""

    def __init__(self, keys: dict[str, dict[str, Ed25519PublicKey]], issue: str | None = None) -> None:
        self._keys = keys
        self.issue = issue

    @classmethod
    def from_file(cls, path: Path, state: Path) -> "KeyTrust":
        """Read trust.json, or its copy in the state folder where it is damaged; then `issue` says so.

        Raises `TrustError` when neither holds keys.
        """
        try:
            roles, issue = backup_copies.choose(path, backup_copies.find(path, [state]), parse_keys)
        except OSError as error:
            raise TrustError(
                f"{path}: {error.strerror}", hint="provision the device again", code="no_trusted_keys"
            ) from None
        except TrustError as error:
            raise TrustError(f"{path}: {error.message}", hint=error.hint, code="no_trusted_keys") from None
        return cls({role: dict(map(_key, keys)) for role, keys in roles.items()}, issue)

    def verify(self, raw: bytes, payload_type: str, role: str) -> bytes:
        """The payload of an envelope of that type signed by a key of `role`. Raises `TrustError`, `WireError`."""
        envelope = codec.decode(raw, Envelope)
        check_form(envelope, payload_type, role, None)
        message = signing_bytes(payload_type, envelope.payload)
        keys = self._keys.get(role, {})
        for signature in envelope.signatures:
            key = keys.get(signature.keyid)
            if key is not None and _valid(key, signature.sig, message):
                return envelope.payload
        raise unsigned(role)


def _key(raw: bytes) -> tuple[str, Ed25519PublicKey]:
    return key_id(raw), Ed25519PublicKey.from_public_bytes(raw)


def _valid(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
