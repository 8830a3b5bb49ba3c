"""How a device asks for its identity, how it renews it, and how it learns the host's time.

A request brings a CSR (PKCS#10, DER) of a key that never leaves the device. Nothing in the CSR but the key and the
proof of having it counts: the device's id comes from the host's record, never from a name that a device wrote. Every
request may be sent again: the same key is given the same answer. This module makes and checks no certificate.
"""

import base64
from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import (
    BIRTH_PREFIX,
    CLAIM_PREFIX,
    DeviceId,
    Incarnation,
    Nonce,
    check_device_id,
    check_principal,
    check_sha256,
)

PLANE_NAME = "@plane"
CANARY_NAME = "@canary"
OLD_NAME = "@old"
"""Names of no device: `@old` is the bridge that the devices of the old listener share."""

CsrBytes = Annotated[bytes, Meta(min_length=1, max_length=4096)]
PemBytes = Annotated[bytes, Meta(min_length=1, max_length=16_384)]
ProofBytes = Annotated[bytes, Meta(min_length=1, max_length=256)]
EnvelopeBytes = Annotated[bytes, Meta(min_length=1, max_length=4096)]
MqttsUrl = Annotated[str, Meta(pattern=r"^mqtts://[A-Za-z0-9._:\[\]-]+\Z", max_length=250)]
Status = Literal["approved", "pending", "refused"]


class EnrolmentRequest(Struct, frozen=True):
    """Asks for a device certificate, on `topics.enroll_request`.

    `birth_csr` is of the key of the birth certificate; absent when the request itself comes by birth certificate: then
    `proof` is that key's signature (ECDSA with SHA-256, DER) of `return_proof_bytes`. `serial` is the board's own
    hardware serial. `serial`, `board` and `agent` are claims of whoever asks.
    """

    csr: CsrBytes
    nonce: Nonce
    incarnation: Incarnation
    birth_csr: CsrBytes | None = None
    serial: Annotated[str, Meta(max_length=128)] = ""
    board: Annotated[str, Meta(max_length=64)] = ""
    agent: Annotated[str, Meta(max_length=64)] = ""
    proof: ProofBytes | None = None


class EnrolmentAnswer(Struct, frozen=True):
    """The answer to it. Certificates are PEM: the leaf, then the issuing CA. `code` says why it was refused.

    `attest` is an envelope (`envelope.ATTEST`) of an `Attest` for the request's nonce, signed by the director key.
    """

    status: Status
    device: DeviceId | None = None
    certificate: PemBytes | None = None
    birth_certificate: PemBytes | None = None
    code: str = ""
    detail: str = ""
    attest: EnvelopeBytes | None = None


class RenewalRequest(Struct, frozen=True):
    """Asks for a new certificate, on `topics.renew`; without a CSR only for the time.

    `proof` says that whoever asks for another key holds the one in use: its signature (ECDSA with SHA-256, DER) of
    `renewal_proof_bytes`. The broker's word for who publishes is not enough, since its rules may be loose. `enrol` is
    all that a device says which has no identity yet, and was offered one (`Offer`).
    """

    nonce: Nonce
    csr: CsrBytes | None = None
    proof: ProofBytes | None = None
    enrol: EnrolmentRequest | None = None


class RenewalAnswer(Struct, frozen=True):
    """The answer to it; `code` says why there is no certificate though one was asked for. `enrol` answers `enrol`."""

    nonce: Nonce
    certificate: PemBytes | None = None
    code: str = ""
    detail: str = ""
    attest: EnvelopeBytes | None = None
    enrol: EnrolmentAnswer | None = None


class Offer(Struct, frozen=True):
    """Where a device that has no identity comes in with one, and whose certificates it believes there (`ca`, PEM).

    It is part of its desired state, so the director key has signed it; nothing of it is secret.
    """

    broker: MqttsUrl
    enrolment: MqttsUrl
    ca: Annotated[str, Meta(min_length=1, max_length=4096)]


class Attest(Struct, frozen=True):
    """The host's time, as an answer to a nonce that a device has just made. `device` is empty before enrolment."""

    device: Annotated[str, Meta(max_length=41)]
    nonce: Nonce
    time: float


def renewal_proof_bytes(csr: bytes) -> bytes:
    """What the key in use signs to ask for the key of this CSR. No other signature of a device begins so."""
    return b"skerry renewal v1\n" + csr


def return_proof_bytes(csr: bytes, incarnation: str) -> bytes:
    """What the birth key signs, to come back with the key of this CSR and this state folder."""
    return b"skerry return v1\n%b\n%b" % (incarnation.encode(), csr)


def code_of(key_sha256: str) -> str:
    """The eight letters by which people recognise a device's key, such as `KX3P-77QA`.

    They are the first 40 bits of the sha256 of its SubjectPublicKeyInfo, in base32 (RFC 4648, section 6).
    """
    letters = base64.b32encode(bytes.fromhex(check_sha256(key_sha256))[:5]).decode()
    return f"{letters[:4]}-{letters[4:]}"


def claim_name(number: int) -> str:
    """The principal of a claim: `@claim-7`."""
    return check_principal(f"{CLAIM_PREFIX}{number}")


def birth_name(device: str) -> str:
    """The principal of a device's birth certificate: `@birth-edge-17`."""
    return f"{BIRTH_PREFIX}{check_device_id(device)}"


def device_of_birth(name: str) -> str:
    """The device whose birth certificate it is; raises `WireError` for any other name."""
    if not name.startswith(BIRTH_PREFIX):
        raise WireError(f"principal {name!r}", [f"a birth certificate's name begins with {BIRTH_PREFIX}"])
    return check_device_id(name.removeprefix(BIRTH_PREFIX))
