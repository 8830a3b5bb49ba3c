"""trust.json: the public keys that a device trusts, by role. Only the format, so that the supervisor can check it.

Neither cryptography nor numpy is imported here; `verification` makes keys of what is read.
"""

import base64
import binascii

import msgspec

from skerry_agent.wire.errors import SkerryError

KEY_BYTES = 32


class TrustError(SkerryError):
    """A message is not signed by the expected key, or the key file cannot be used."""

    code = "untrusted"


def parse_keys(raw: bytes) -> dict[str, list[bytes]]:
    """Raw ed25519 public keys by role, from their base64 in a JSON object. Raises `TrustError`."""
    try:
        roles = msgspec.json.decode(raw, type=dict[str, list[str]])
        keys = {role: [base64.b64decode(text, validate=True) for text in texts] for role, texts in roles.items()}
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise TrustError(f"it holds no usable keys: {error}", hint="provision the device again") from None
    if any(len(key) != KEY_BYTES for texts in keys.values() for key in texts):
        raise TrustError(
            f"it holds no usable keys: one does not have {KEY_BYTES} bytes", hint="provision the device again"
        )
    return keys
