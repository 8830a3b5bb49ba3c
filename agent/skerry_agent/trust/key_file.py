"""trust.json: the public keys that a device trusts, by role; and what a message must look like to be signed by one.

Only the format, so that the supervisor can check it: neither cryptography nor numpy is imported here, and nothing is
verified. `verification` makes keys of what is read.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Container

import msgspec

from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import SkerryError

KEY_BYTES = 32
SIGNATURE_BYTES = 64


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


def key_id(raw: bytes) -> str:
    """What a signature names its key by."""
    return hashlib.sha256(raw).hexdigest()


def check_form(signed: Envelope, payload_type: str, role: str, ids: Container[str] | None) -> None:
    """Whether a message could be one of that type, signed by one of these keys; `ids` None says nothing of keys.

    Raises `TrustError`. Anybody can make a message that passes.
    """
    if signed.payload_type != payload_type:
        raise TrustError(
            f"expected {payload_type}, got {signed.payload_type[:80]!r}",
            code="unsupported_schema" if _kind(signed.payload_type) == _kind(payload_type) else "wrong_type",
        )
    if ids is not None and not any(
        each.keyid in ids and len(each.sig) == SIGNATURE_BYTES for each in signed.signatures
    ):
        raise unsigned(role)


def unsigned(role: str) -> TrustError:
    """No key of that role has signed a message."""
    hint = "was this device provisioned by another host?"
    return TrustError(f"no valid signature by a key of role {role}", hint=hint)


def _kind(payload_type: str) -> str:
    """A payload type without the version of its format."""
    return re.sub(r"\.v[0-9]{1,9}\+json\Z", "", payload_type)
