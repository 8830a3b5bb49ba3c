"""Taking a model off a device, from the request until the device reports that it is gone.

    pending ──signed into its desired state──> sent ──reported without it──> done
                                                 └──reported with it, or nothing in a day──> failed

It is no command: the desired state says so until the model is assigned anew, so that a device that was off, or has an
old disk again, gives it up, too. An agent of before keeps the model, and this says so.
"""

from sqlalchemy.orm import Session

from skerry_host.plane.registry.records import events, rollouts, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts.director import Director

PATIENCE_S = 24 * 3600.0
TOO_OLD = "its agent knows no removal and keeps the model: install a newer skerry-agent"


def is_due(session: Session, order: OrderRow, now: float) -> bool:
    """Whether `advance` would do anything."""
    if order.state == "pending":
        return True
    return _is_accepted(twins.find(session, order.device), order) or _is_late(order, now)


def advance(session: Session, order: OrderRow, director: Director, now: float) -> None:
    """Take the next step of an order, if it is due."""
    if not is_due(session, order, now):
        return
    if order.state == "pending":
        _send(session, order, director, now)
        return
    twin = twins.find(session, order.device)
    if not _is_accepted(twin, order):
        _end(session, order, "failed", f"not accepted within {PATIENCE_S / 3600:g} hours", now)
    elif twin.reported is not None and order.model in twin.reported.models:
        _end(session, order, "failed", TOO_OLD, now)
    else:
        _end(session, order, "done", f"{order.model} is gone", now)


def _send(session: Session, order: OrderRow, director: Director, now: float) -> None:
    model = order.model or ""
    for row in rollouts.open_of(session, order.device, model):
        row.outcome, row.reason, row.ended = "cancelled", "the model was taken off the device", now
        events.add(session, Event(now, "cancelled", order.device, f"{row.release}: {row.reason}"))
    order.sequence = director.remove(session, order.device, model).generation
    order.state, order.sent = "sent", now
    events.add(session, Event(now, "ordered", order.device, f"{order.kind} {model}"))


def _is_accepted(twin: Twin, order: OrderRow) -> bool:
    """The device has accepted the desired state that says so, or a later one."""
    return twin.reported is not None and twin.reported.generation >= (order.sequence or 0)


def _is_late(order: OrderRow, now: float) -> bool:
    return order.sent is not None and abs(now - order.sent) > PATIENCE_S


def _end(session: Session, order: OrderRow, state: str, detail: str, now: float) -> None:
    order.state, order.detail, order.ended = state, detail, now
    events.add(session, Event(now, "order", order.device, f"{order.kind} {state}: {detail}"))
