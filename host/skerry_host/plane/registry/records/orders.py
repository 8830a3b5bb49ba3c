"""Orders: commands to single devices, from a person's request to the device's answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from skerry_agent.wire.refusals import message_sha256
from skerry_agent.wire.twin import CommandResult
from skerry_host.plane.registry.tables import OrderRow

OPEN = ("pending", "sent", "answered")


def add(session: Session, order: OrderRow) -> None:
    """Record an order; the serving plane sends it."""
    session.add(order)


def open_orders(session: Session) -> Sequence[OrderRow]:
    """Orders that have not ended, oldest first."""
    return session.scalars(select(OrderRow).where(OrderRow.state.in_(OPEN)).order_by(OrderRow.created)).all()


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that are, or may be, retained on the devices' command topics, as of one moment.

    `sent` is the signed command that each device has yet to answer. `over` maps the id of an order to its device where
    nothing more is expected of that device, though the command may still be retained.
    """

    sent: dict[str, bytes]
    over: dict[str, str]


def commands(session: Session) -> Commands:
    """Read in one statement: an order that is answered between two reads would be in neither part, or in both."""
    query = select(OrderRow.id, OrderRow.device, OrderRow.state, OrderRow.envelope).where(
        OrderRow.envelope.is_not(None)
    )
    found = Commands({}, {})
    for order_id, device, state, envelope in session.execute(query):
        if state == "sent" and envelope is not None:
            found.sent[device] = envelope
        else:
            found.over[order_id] = device
    return found


def ordered_devices(session: Session) -> set[str]:
    """Every device to which a command was ever sent."""
    return set(session.scalars(select(OrderRow.device).where(OrderRow.sent.is_not(None)).distinct()))


def next_sequence(session: Session, device: str, now: float) -> int:
    """Above that of every command the device was sent, also where the registry was made anew or the clock set back."""
    last = session.scalar(select(func.max(OrderRow.sequence)).where(OrderRow.device == device))
    return max((last or 0) + 1, int(now * 1000))


def forget_envelopes(session: Session, ids: Iterable[str]) -> None:
    """Their commands are no longer retained."""
    session.execute(update(OrderRow).where(OrderRow.id.in_(list(ids))).values(envelope=None))


def answer(session: Session, result: CommandResult, now: float) -> OrderRow | None:
    """Store a device's answer; None when it belongs to no open order."""
    row = session.get(OrderRow, result.id)
    if row is None or row.device != result.device or row.state != "sent":
        return None
    row.detail, row.answered = ": ".join(filter(None, (result.code, result.detail))), now
    row.state = "answered" if result.ok else "failed"
    row.ended = None if result.ok else now
    return row


def refuse(session: Session, device: str, message: str, why: str, now: float) -> None:
    """A device has refused the command of this sha256, which it could not answer. Nothing, if it is no open order's."""
    query = select(OrderRow).where(OrderRow.device == device, OrderRow.state == "sent", OrderRow.envelope.is_not(None))
    for row in session.scalars(query):
        if row.envelope is not None and message_sha256(row.envelope) == message:
            row.state, row.detail, row.answered, row.ended = "failed", why, now, now
