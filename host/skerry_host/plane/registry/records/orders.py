"""Commands to single devices, from the wish of a person to the device's answer."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from skerry_agent.wire.twin import CommandResult
from skerry_host.plane.registry.tables import OrderRow

OPEN = ("pending", "sent", "answered")


def add(session: Session, order: OrderRow) -> None:
    """Keep a wish; the serving plane sends it."""
    session.add(order)


def open_orders(session: Session) -> Sequence[OrderRow]:
    """Orders that are not over, oldest first."""
    return session.scalars(select(OrderRow).where(OrderRow.state.in_(OPEN)).order_by(OrderRow.created)).all()


def sent_envelopes(session: Session) -> dict[str, bytes]:
    """The signed command that each device has yet to answer."""
    query = select(OrderRow.device, OrderRow.envelope).where(OrderRow.state == "sent")
    return {device: envelope for device, envelope in session.execute(query) if envelope}


def answered_envelopes(session: Session) -> dict[str, str]:
    """Order id to device, for orders that are no longer open at the device but whose command may still be retained."""
    query = select(OrderRow.id, OrderRow.device).where(OrderRow.envelope.is_not(None), OrderRow.state != "sent")
    return dict(session.execute(query).all())


def forget_envelopes(session: Session, ids: Iterable[str]) -> None:
    """Their commands are no longer retained."""
    session.execute(update(OrderRow).where(OrderRow.id.in_(list(ids))).values(envelope=None))


def answer(session: Session, result: CommandResult, now: float) -> OrderRow | None:
    """Take over a device's answer; None when it answers nothing that is open."""
    row = session.get(OrderRow, result.id)
    if row is None or row.device != result.device or row.state != "sent":
        return None
    row.detail, row.answered = result.detail, now
    row.state = "answered" if result.ok else "failed"
    row.ended = None if result.ok else now
    return row
