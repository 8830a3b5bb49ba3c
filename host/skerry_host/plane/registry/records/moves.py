"""Devices of the old way that are offered an identity, each until it has come with it. Decides and signs nothing."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.enrolment import Offer, claim_name
from skerry_host.plane.registry.records import claims
from skerry_host.plane.registry.tables import ClaimRow, MoveRow


def begin(session: Session, device: str, claim_number: int, offer: Offer) -> None:
    """Offer it; whoever takes it is enrolled by this claim."""
    session.add(MoveRow(device=device, claim=claim_number, offer=codec.encode(offer), signed=False))


def end(session: Session, device: str, now: float) -> bool:
    """Offer it no more: it has come with its identity, or is to have another one. False where nothing was offered."""
    row = session.get(MoveRow, device)
    if row is None:
        return False
    claims.close_if_there(session, row.claim, now)
    session.delete(row)
    session.flush()
    return True


def withdraw(session: Session, device: str, now: float) -> bool:
    """Nobody is enrolled by it any more; the row goes once the desired state is without it. False where none stood."""
    row = session.get(MoveRow, device)
    if row is None or not row.offer:
        return False
    claims.close_if_there(session, row.claim, now)
    row.offer, row.signed = b"", False
    return True


def offer(session: Session, device: str) -> Offer | None:
    """What it is offered. Raises `WireError` where the row is damaged."""
    row = session.get(MoveRow, device)
    return codec.decode(row.offer, Offer) if row is not None and row.offer else None


def claim(session: Session, device: str) -> str | None:
    """The principal of the claim by which a device that moves is enrolled."""
    row = session.get(MoveRow, device)
    return claim_name(row.claim) if row is not None and row.offer else None


def device_of(session: Session, principal: str) -> str | None:
    """The device that alone may enrol by a claim, because it is moved by it; None for any other claim."""
    query = select(MoveRow.device).join(ClaimRow, ClaimRow.number == MoveRow.claim)
    return session.scalar(query.where(ClaimRow.name == principal))


def devices_by_claim(session: Session) -> dict[str, str]:
    """The same of all claims by which devices are moved."""
    query = select(ClaimRow.name, MoveRow.device).join(MoveRow, MoveRow.claim == ClaimRow.number)
    return dict(session.execute(query).all())


def unsigned(session: Session, most: int) -> list[str]:
    """Some devices whose desired state does not say yet what they are offered, or that they are not any more."""
    return list(session.scalars(select(MoveRow.device).where(MoveRow.signed.is_(False)).limit(most)))


def note_signed(session: Session, device: str) -> None:
    """Its desired state says it."""
    row = session.get_one(MoveRow, device)
    row.signed = True
    if not row.offer:
        session.delete(row)
