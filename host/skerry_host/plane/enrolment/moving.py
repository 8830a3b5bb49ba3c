"""Moves devices of the old way: offers them an identity over the connection that they have.

A move is a claim of which there is no certificate, so only the device's own topic leads to it. Anybody on the old way
may write there: a person compares the code, unless the network is trusted. Who has taken the offer is the desk's
matter; that the device has come with its identity, shows its renewal (`renewal`).
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from skerry_agent.wire.enrolment import Offer
from skerry_agent.wire.errors import SkerryError
from skerry_host.fleet.errors import FleetError
from skerry_host.plane.enrolment.arriving import DAY_S
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import claims, devices, events, identities, moves
from skerry_host.plane.registry.records.claims import Wanted
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.rollouts.director import Director

MOST_AT_ONCE = 50
"""Offers that are signed in one tick."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is offered and for how many days; `trusted`: the first key that asks in the device's name is its own."""

    offer: Offer
    days: float
    trusted: bool = False


def begin(session: Session, device: str, terms: Terms, now: float) -> None:
    """Offer a device an identity; an offer of before is replaced. Raises `UnknownError`, `FleetError`."""
    found = devices.find(session, device)
    identities.require_heard(session, device)
    if device not in identities.old_way(session) or identities.incarnation(session, device) is not None:
        hint = "`skerry device list` shows what each is known by"
        raise FleetError(f"device {device} does not come the old way", hint=hint, code="not_old_way")
    moves.end(session, device, now)
    own = device if terms.trusted else None
    wanted = Wanted(found.board, tuple(sorted(found.tags)), now + terms.days * DAY_S, 1, own)
    claim = claims.add(session, wanted, now)
    moves.begin(session, device, claim.number, terms.offer)
    how = "the first key that comes is taken" if terms.trusted else "until approved"
    events.add(session, Event(now, "move", device, f"offered an identity for {terms.days:g} days, {how}"))


def cancel(session: Session, device: str, now: float) -> None:
    """Offer it no more. Raises `FleetError` where it is offered nothing, or was given its identity already."""
    if identities.incarnation(session, device) is not None or not moves.withdraw(session, device, now):
        raise FleetError(f"device {device} is offered no identity", code="no_offer")
    events.add(session, Event(now, "move", device, "cancelled"))


def sign_offers(registry: Registry, director: Director, now: float) -> bool:
    """Put some offers that were made since, in any process, into the desired states of their devices; whether all.

    Where what is desired of a device is damaged, it is offered nothing, and that is said.
    """
    with registry.read() as session:
        waiting = moves.unsigned(session, MOST_AT_ONCE)
    for device in waiting:
        try:
            with registry.write() as session:
                director.offer(session, device)
                moves.note_signed(session, device)
        except SkerryError as error:
            with registry.write() as session:
                moves.end(session, device, now)
                events.add(session, Event(now, "move", device, f"cannot be offered: {error}"))
    return len(waiting) < MOST_AT_ONCE
