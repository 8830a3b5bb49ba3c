"""What proves who each device is, and who is not to be heard any more. Decides nothing and makes no certificate.

A device is known by its identity (a key that it enrolled with), or the old way: it was provisioned before there were
identities, or over a broker without TLS. A record whose board has not come yet is neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from skerry_agent.wire.enrolment import birth_name
from skerry_agent.wire.names import is_device_id, is_principal
from skerry_host.fleet.errors import FleetError
from skerry_host.identity.decision import Keys
from skerry_host.plane.registry.records import claims, moves
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import CertificateRow, ChangeRow, ClaimRow, DeviceRow, IdentityRow, MoveRow

VERSION_KINDS = ("devices", "identities", "removed")
"""The kinds of changes (`records.changes`) that who is to be heard depends on."""

REVOKED, RETIRED = "revoked", "retired"

KEPT = 16
"""Certificates of each principal that are never forgotten: a device renews its own every two months."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of one device: times in seconds since 1970; `key_sha256` is absent where it has never enrolled."""

    device: str
    key_sha256: str | None = None
    incarnation: str | None = None
    birth_key_sha256: str | None = None
    enrolled: float | None = None
    revoked: float | None = None
    reason: str = ""
    retired: float | None = None

    @property
    def word(self) -> str:
        """How it is denied."""
        return REVOKED if self.retired is None else RETIRED

    @property
    def is_denied(self) -> bool:
        """Whether nothing that is said in its name is to be heard."""
        return self.revoked is not None or self.retired is not None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was issued; `pem` where the same is to be given again to who asks again."""

    serial: str
    principal: str
    kind: str
    key_sha256: str
    not_after: float
    pem: bytes | None = None


def find(session: Session, device: str) -> Identity | None:
    """The identity of a device; None where it has never had one."""
    row = session.get(IdentityRow, device)
    return _identity(row) if row is not None else None


def of(session: Session, devices: Iterable[str]) -> dict[str, Identity]:
    """The identities of some devices, of those that have or had one."""
    query = select(IdentityRow)
    rows = (row for part in parts(devices) for row in session.scalars(query.where(IdentityRow.device.in_(part))))
    return {row.device: _identity(row) for row in rows}


def require_heard(session: Session, device: str) -> None:
    """Raises `FleetError` where a device is revoked or retired, so that nothing can be ordered of it."""
    identity = find(session, device)
    if identity is not None and identity.is_denied:
        hint = f"`skerry device provision {device} --replace` gives it a new identity"
        raise FleetError(f"device {device} is {identity.word}", hint=hint, code=identity.word)


def by_key(session: Session, key_sha256: str) -> Identity | None:
    """The identity with this key, whatever its device is called."""
    row = session.scalar(select(IdentityRow).where(IdentityRow.key_sha256 == key_sha256))
    return _identity(row) if row is not None else None


def incarnation(session: Session, device: str) -> str | None:
    """The state folder that a device has enrolled with; None where it is known the old way."""
    return session.scalar(select(IdentityRow.incarnation).where(IdentityRow.device == device))


def bind(session: Session, device: str, keys: Keys, now: float) -> None:
    """The device is from now on who holds these keys; the certificates of other keys are revoked.

    Keeps the key of the birth certificate that there is, where the request came by it.
    """
    row = _row(session, device)
    row.key_sha256, row.incarnation = keys.key_sha256, keys.incarnation
    row.birth_key_sha256 = keys.birth_key_sha256 or row.birth_key_sha256
    row.enrolled, row.revoked, row.reason, row.retired = now, None, "", None
    kept = {row.key_sha256, row.birth_key_sha256}
    _revoke_certificates(session, device, CertificateRow.key_sha256.not_in(kept), now)


def set_key(session: Session, device: str, key_sha256: str) -> None:
    """A device that has an identity goes on with another key: it asked for that by the one before."""
    session.get_one(IdentityRow, device).key_sha256 = key_sha256


def revoke(session: Session, device: str, reason: str, now: float) -> None:
    """Nothing is heard of it any more, by whatever certificate; what it could still enrol by is closed."""
    row = _row(session, device)
    row.revoked, row.reason = now, reason
    _shut(session, device, now)


def retire(session: Session, device: str, now: float) -> None:
    """As `revoke`, of a device that has left the fleet."""
    _row(session, device).retired = now
    _shut(session, device, now)


def forget(session: Session, device: str, now: float) -> None:
    """A device has no identity any more, and may come the old way: its certificates are revoked."""
    row = session.get(IdentityRow, device)
    if row is not None:
        _shut(session, device, now)
        session.delete(row)
        session.flush()


def add_certificate(session: Session, made: Certificate) -> None:
    """Keep what was issued, so that it can be revoked."""
    session.add(
        CertificateRow(
            serial=made.serial,
            principal=made.principal,
            kind=made.kind,
            key_sha256=made.key_sha256,
            not_after=made.not_after,
            pem=made.pem,
        )
    )


def living_certificates(session: Session, principal: str, now: float, most: int) -> list[Certificate]:
    """Those that can be used now, newest first, and no more than so many."""
    valid = (CertificateRow.principal == principal, CertificateRow.revoked.is_(None), CertificateRow.not_after > now)
    rows = session.scalars(select(CertificateRow).where(*valid).order_by(CertificateRow.not_after.desc()).limit(most))
    return [Certificate(row.serial, row.principal, row.kind, row.key_sha256, row.not_after, row.pem) for row in rows]


def expiries(session: Session, devices: Iterable[str]) -> dict[str, float]:
    """When the newest certificate of each of some devices expires; those that have one."""
    columns = select(CertificateRow.principal, func.max(CertificateRow.not_after)).group_by(CertificateRow.principal)
    queries = (columns.where(CertificateRow.principal.in_(part)) for part in parts(devices))
    return {device: not_after for query in queries for device, not_after in session.execute(query)}


def count_certificates(session: Session, principal: str, after: float, until: float) -> int:
    """How many of a principal's, revoked or not, expire in that time."""
    mine = select(func.count()).select_from(CertificateRow).where(CertificateRow.principal == principal)
    return session.scalar(mine.where(CertificateRow.not_after > after, CertificateRow.not_after <= until)) or 0


def was_revoked(session: Session, principal: str, key_sha256: str) -> bool:
    """Whether a certificate of this key was taken back from a principal."""
    mine = (CertificateRow.principal == principal, CertificateRow.key_sha256 == key_sha256)
    return session.scalar(select(CertificateRow.serial).where(*mine, CertificateRow.revoked.is_not(None))) is not None


def prune_certificates(session: Session, before: float) -> None:
    """Forget those that expired before a time: nobody can use them, revoked or not.

    But the newest `KEPT` of each principal stay. By a clock that is years ahead for an hour all have expired; without
    them no device could renew or come back, and what was revoked would be valid again.
    """
    newer = aliased(CertificateRow)
    mine = select(func.count()).select_from(newer).where(newer.principal == CertificateRow.principal)
    newer_ones = mine.where(newer.not_after > CertificateRow.not_after).scalar_subquery()
    session.execute(
        delete(CertificateRow)
        .where(CertificateRow.not_after < before, newer_ones >= KEPT)
        .execution_options(synchronize_session=False)
    )


def revoked(session: Session) -> frozenset[str]:
    """The principals that are not to be heard: devices, their birth certificates, and claims that were closed."""
    denied = select(IdentityRow.device).where(_is_denied())
    closed = _claims_with_certificate().where(ClaimRow.closed.is_not(None))
    return _principals(session.scalars(denied), session.scalars(closed))


def members(session: Session) -> frozenset[str]:
    """The principals that have certificates, also denied ones: devices, their birth certificates, claims."""
    enrolled = session.scalars(select(IdentityRow.device).where(IdentityRow.key_sha256.is_not(None)))
    return _principals(enrolled, session.scalars(_claims_with_certificate()))


def denied(session: Session) -> frozenset[str]:
    """The devices of which nothing is to be heard."""
    return frozenset(session.scalars(select(IdentityRow.device).where(_is_denied())))


def revoked_serials(session: Session) -> list[tuple[str, float]]:
    """(serial, time of revocation) of each certificate that was revoked, by serial."""
    columns = select(CertificateRow.serial, CertificateRow.revoked).where(CertificateRow.revoked.is_not(None))
    return [(serial, at) for serial, at in session.execute(columns.order_by(CertificateRow.serial)) if at is not None]


def old_way(session: Session) -> frozenset[str]:
    """The devices that may still come without a certificate: with a record, no identity, and no claim to wait for.

    And those that move, until they have come with the identity that they were given.
    """
    query = select(DeviceRow.id).outerjoin(IdentityRow, IdentityRow.device == DeviceRow.id)
    is_moving = DeviceRow.id.in_(select(MoveRow.device))
    without = query.where(DeviceRow.claim.is_(None), IdentityRow.key_sha256.is_(None) | is_moving)
    found = session.scalars(without.where(IdentityRow.revoked.is_(None), IdentityRow.retired.is_(None)))
    return frozenset(filter(is_device_id, found))


def _claims_with_certificate() -> Select[Any]:
    """The names of the claims that somebody may come by: not those by which devices of the old way are moved."""
    certified = select(CertificateRow.principal).where(CertificateRow.kind == "claim")
    return select(ClaimRow.name).where(ClaimRow.name.in_(certified))


def version(session: Session) -> int:
    """Another number whenever `revoked`, `revoked_serials`, `old_way` or an incarnation may have changed."""
    return sum(session.scalars(select(ChangeRow.number).where(ChangeRow.kind.in_(VERSION_KINDS))))


def _principals(devices: Iterable[str], claim_names: Iterable[str]) -> frozenset[str]:
    """These devices, their birth certificates and these claims. What is no name, in a damaged row, is left out.

    It would keep all other names out of the broker's rules, or write a line of its own into them.
    """
    sound = [device for device in devices if is_device_id(device)]
    return frozenset([*sound, *map(birth_name, sound), *filter(is_principal, claim_names)])


def _row(session: Session, device: str) -> IdentityRow:
    row = session.get(IdentityRow, device)
    if row is None:
        row = IdentityRow(device=device)
        session.add(row)
    return row


def _shut(session: Session, device: str, now: float) -> None:
    _revoke_certificates(session, device, CertificateRow.revoked.is_(None), now)
    claims.close_all_for(session, device, now)
    moves.end(session, device, now)


def _revoke_certificates(session: Session, device: str, which: ColumnElement[bool], now: float) -> None:
    of_device = CertificateRow.principal.in_((device, birth_name(device)))
    unrevoked = CertificateRow.revoked.is_(None)
    session.execute(update(CertificateRow).where(of_device, unrevoked, which).values(revoked=now))


def _is_denied() -> ColumnElement[bool]:
    return IdentityRow.revoked.is_not(None) | IdentityRow.retired.is_not(None)


def _identity(row: IdentityRow) -> Identity:
    return Identity(
        row.device,
        row.key_sha256,
        row.incarnation,
        row.birth_key_sha256,
        row.enrolled,
        row.revoked,
        row.reason,
        row.retired,
    )
