"""By what each device is known: an identity, none, or a record whose board has not come. Decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_host.plane.registry.records import identities
from skerry_host.plane.registry.records.identities import Identity
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import DeviceRow

How = Literal["identity", "no_identity", "awaited", "revoked", "retired"]


@dataclass(frozen=True, slots=True)
class Known:
    """How a device is known; `until` its certificate expires, `reason` why it was revoked."""

    how: How
    until: float | None = None
    reason: str = ""


def known_by(session: Session, devices: Sequence[str]) -> dict[str, Known]:
    """By what each of some devices is known."""
    found, until = identities.of(session, devices), identities.expiries(session, devices)
    claimed = select(DeviceRow.id).where(DeviceRow.claim.is_not(None))
    awaited = {name for part in parts(devices) for name in session.scalars(claimed.where(DeviceRow.id.in_(part)))}
    return {name: _known(found.get(name), until.get(name), awaited=name in awaited) for name in devices}


def _known(identity: Identity | None, until: float | None, *, awaited: bool) -> Known:
    if identity is not None and identity.retired is not None:
        return Known("retired")
    if identity is not None and identity.revoked is not None:
        return Known("revoked", reason=identity.reason)
    if identity is not None and identity.key_sha256 is not None:
        return Known("identity", until)
    return Known("awaited" if awaited else "no_identity")
