"""Takes devices off the fleet, in the registry: revoked, because they are not to be believed, or retired.

All that was under way for a device ends with it, and blames no release. The serving plane does the rest within a tick:
the broker hears the device no more, and retains nothing for it. Whoever is revoked comes back only by being provisioned
again, under a new key. History stays under the id, so the id stays with it.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_host.fleet.errors import FleetError
from skerry_host.plane.registry.records import claims, devices, events, identities, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.identities import RETIRED, REVOKED
from skerry_host.plane.registry.records.orders import OPEN
from skerry_host.plane.registry.tables import DeploymentRow, OrderRow


@dataclass(frozen=True, slots=True)
class Left:
    """What ended with a device: deployments and orders that were under way."""

    deployments: int
    orders: int


def revoke(session: Session, device: str, reason: str, now: float) -> Left:
    """Believe a device no more. Raises `UnknownError`; `FleetError` when it is revoked or retired already."""
    _require_here(session, device)
    identities.revoke(session, device, reason, now)
    return _end(session, device, Event(now, REVOKED, device, reason))


def retire(session: Session, device: str, now: float) -> Left:
    """Take a device off the fleet, also one that was revoked. Raises `UnknownError`; `FleetError` when it has left."""
    devices.find(session, device)
    identity = identities.find(session, device)
    if identity is not None and identity.retired is not None:
        raise FleetError(f"device {device} is retired already", code=RETIRED)
    identities.retire(session, device, now)
    return _end(session, device, Event(now, RETIRED, device, "left the fleet"))


def _require_here(session: Session, device: str) -> None:
    devices.find(session, device)
    identity = identities.find(session, device)
    if identity is not None and identity.is_denied:
        raise FleetError(f"device {device} is {identity.word} already", code=identity.word)


def _end(session: Session, device: str, event: Event) -> Left:
    twins.clear(session, device)
    claims.unapprove(session, device)
    deployments = _end_deployments(session, device, event)
    orders = _end_orders(session, device, event)
    events.add(session, event)
    return Left(deployments, orders)


def _end_deployments(session: Session, device: str, event: Event) -> int:
    query = select(DeploymentRow).where(DeploymentRow.device == device, DeploymentRow.outcome.is_(None))
    rows = session.scalars(query).all()
    for row in rows:
        row.outcome, row.reason, row.ended = "cancelled", event.kind, event.at
        events.add(session, Event(event.at, "cancelled", device, f"{row.release}: {event.kind}"))
    return len(rows)


def _end_orders(session: Session, device: str, event: Event) -> int:
    rows = session.scalars(select(OrderRow).where(OrderRow.device == device, OrderRow.state.in_(OPEN))).all()
    for row in rows:
        row.state, row.detail, row.ended = "failed", f"the device was {event.kind}", event.at
    return len(rows)
