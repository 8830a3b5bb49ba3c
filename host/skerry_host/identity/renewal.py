"""Decides whether a device gets a certificate for another key. Pure: what it has and the time are arguments.

A broker says who publishes, by certificate; where its rules are loose it may be wrong. So a new key is certified only
if one that the host knows as the device's own has signed for it. What a device says of itself decides nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skerry_agent.wire.enrolment import renewal_proof_bytes
from skerry_host.identity.profile import DAY_S, DEVICE_DAYS
from skerry_host.identity.proof import is_signed

MINUTE_S = 60.0
MOST_A_DAY = 10
SAME_S = DEVICE_DAYS * DAY_S / 2
"""Whoever asks again for a key is given the same certificate for so long: no new one is made of that."""

REFUSED: dict[str, str] = {
    "revoked": "this device was revoked: the operator must provision it again",
    "proof": "the request for a new key is not signed by the key in use: the device must enrol again",
    "key_in_use": "this key is another device's: make a new one",
    "too_soon": "another certificate was given less than a minute ago: ask again later",
    "too_many": f"{MOST_A_DAY} certificates were given within a day: ask again tomorrow",
}
"""Why there is no new certificate: code to what is to be done."""


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate of the device that can be used now: its key, when it was given, and itself where it is kept."""

    key_sha256: str
    given: float
    pem: bytes | None


@dataclass(frozen=True, slots=True)
class Asked:
    """For which key a certificate is asked, in which CSR, and with which proof."""

    key_sha256: str
    csr: bytes
    proof: bytes | None


def decide(asked: Asked, current: str, held: Sequence[Held], now: float) -> str:
    """Why there is none (a code of `REFUSED`), or "" where there is. `current` is the hash of the key in the record.

    A key that the host knows as the device's own is given the certificate that there is, or the next one; its CSR has
    shown already that the asker holds it.
    """
    known = asked.key_sha256 == current or any(each.key_sha256 == asked.key_sha256 for each in held)
    if not known and not _signed_by_one_of(asked, (each.pem for each in held)):
        return "proof"
    if any(each.key_sha256 == asked.key_sha256 and 0 <= now - each.given < SAME_S for each in held):
        return ""
    ages = [now - each.given for each in held if each.given <= now]  # else the host's clock was ahead for a while
    if any(age < MINUTE_S for age in ages):
        return "too_soon"
    return "too_many" if sum(age < DAY_S for age in ages) >= MOST_A_DAY else ""


def _signed_by_one_of(asked: Asked, pems: Iterable[bytes | None]) -> bool:
    return asked.proof is not None and any(
        is_signed(asked.proof, renewal_proof_bytes(asked.csr), pem) for pem in pems if pem
    )
