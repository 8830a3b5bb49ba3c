"""Reads from the registry what a request for an identity is decided by (`identity.decision`). Decides nothing."""

from sqlalchemy.orm import Session

from skerry_agent.wire.enrolment import EnrolmentRequest, birth_name, return_proof_bytes
from skerry_host.identity.decision import RETURNS_WITHIN_S, Asked, ByHand, ClaimFacts, Holder, Keys, Past
from skerry_host.identity.profile import DAY_S, DEVICE_DAYS
from skerry_host.identity.proof import is_signed
from skerry_host.plane.enrolment.certificates import MOST_LOOKED_AT
from skerry_host.plane.registry.records import claims, identities
from skerry_host.plane.registry.records.claims import Claim
from skerry_host.plane.registry.records.identities import Identity
from skerry_host.plane.registry.tables import DeviceRow, PendingRow


def asked(session: Session, principal: str, keys: Keys, serial: str) -> Asked:
    """All that bears on a request by a claim."""
    claim = claims.find(session, principal)
    row = claims.find_waiting(session, keys.key_sha256)
    device = _record(session, claim, row, serial) if claim else None
    return Asked(
        keys,
        _claim_facts(claim) if claim else None,
        owner(session, keys.key_sha256),
        holder(session, device) if device else None,
        ByHand(row.approved is not None, row.replace, row.denied is not None) if row else ByHand(),
        claims.waiting_count(session, principal) - (row is not None and row.claim == principal),
    )


def owner(session: Session, key_sha256: str) -> Holder | None:
    """Whose key this is."""
    identity = identities.by_key(session, key_sha256)
    return _holder(identity) if identity else None


def holder(session: Session, device: str) -> Holder | None:
    """A device's record, with the keys of its board if it has one."""
    if session.get(DeviceRow, device) is None:
        return None
    identity = identities.find(session, device)
    return _holder(identity) if identity else Holder(device)


def is_proven(session: Session, device: str, said: EnrolmentRequest) -> bool:
    """Whether the birth key that a device enrolled with has signed a request to come back."""
    identity = identities.find(session, device)
    if identity is None or identity.birth_key_sha256 is None or said.proof is None:
        return False
    given = identities.living_certificates(session, birth_name(device), 0.0, MOST_LOOKED_AT)  # expired or not
    pems = [each.pem for each in given if each.key_sha256 == identity.birth_key_sha256 and each.pem]
    text = return_proof_bytes(said.csr, said.incarnation)
    return any(is_signed(said.proof, text, pem) for pem in pems)


def past(session: Session, device: str, key_sha256: str, now: float) -> Past:
    """Of the certificates that a device was given before, revoked or not; the host's clock may have been ahead."""
    until = now + DEVICE_DAYS * DAY_S
    lately = identities.count_certificates(session, device, until - RETURNS_WITHIN_S, until)
    return Past(identities.was_revoked(session, device, key_sha256), lately)


def _record(session: Session, claim: Claim, row: PendingRow | None, serial: str) -> str | None:
    if claim.device is not None:
        return claim.device
    if row is not None and row.approved is not None:
        return row.approved
    return claims.record_with_serial(session, claim.number, serial)


def _holder(identity: Identity) -> Holder:
    known = identity.key_sha256
    keys = Keys(known, identity.birth_key_sha256, identity.incarnation or "") if known else None
    return Holder(identity.device, keys, identity.is_denied)


def _claim_facts(claim: Claim) -> ClaimFacts:
    return ClaimFacts(claim.expires, claim.count, claim.used, claim.closed is not None, claim.device)
