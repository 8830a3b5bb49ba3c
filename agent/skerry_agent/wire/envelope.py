"""A signed message that travels as the exact bytes that were signed (DSSE, secure-systems-lab/dsse v1.0.2).

The payload is never re-encoded on the way: it is carried as bytes (base64 in JSON) and only parsed after its
signature has been verified by `skerry_agent.trust`. This module neither signs nor verifies.
"""

from typing import Annotated

from msgspec import Meta, Struct

DESIRED = "application/vnd.skerry.desired.v1+json"
COMMAND = "application/vnd.skerry.command.v1+json"
ATTEST = "application/vnd.skerry.attest.v1+json"
RELEASE = "application/vnd.skerry.release.v1+json"
RUNTIME = "application/vnd.skerry.runtime.v1+json"


class Signature(Struct, frozen=True):
    """One signature; `keyid` is the sha256 of the raw public key, in hex."""

    keyid: str
    sig: bytes


class Envelope(Struct, frozen=True, rename={"payload_type": "payloadType"}):
    """Payload bytes, their type, and who signed them."""

    payload_type: str
    payload: bytes
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=8)]


def signing_bytes(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, so that a payload cannot pass as another type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
