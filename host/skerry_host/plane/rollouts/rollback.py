"""An order, from the request until the device has carried it out: a rollback, or a watch.

    pending ──signed──> sent ──device: ok──> answered ──it reports what it runs──> done
                          └──device: no, or no answer──> failed

After a rollback the host adopts what the device then runs as its desired state, so that it stays there (`adopt` says
which releases that may be). A watch is done once it is answered: the device ends it by itself.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.twin import Command, ModelReport, Reported, SlotReport, TransferPolicy
from skerry_host.plane.registry.records import events, identities, orders, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts.adopt import RolledBack, adopt
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import REMOVAL, WATCH, watched_s

ANSWER_S = 24 * 3600.0
SETTLE_S = 60.0
LEAST_WATCH_ANSWER_S = 120.0
"""A device's clock may be off by so much."""


def is_due(session: Session, order: OrderRow, now: float) -> bool:
    """Whether `advance` would do anything."""
    if order.state == "pending":
        return not _is_busy(session, order.device)
    if order.state == "sent":
        return _elapsed(order.sent, now) > _answer_s(order)
    return _has_settled(session, order) or _elapsed(order.answered, now) > SETTLE_S


def next_due(order: OrderRow) -> float | None:
    """When that may be so though nothing has changed."""
    if order.state == "sent" and order.sent is not None:
        return order.sent + _answer_s(order)
    return order.answered + SETTLE_S if order.answered is not None else None


def _answer_s(order: OrderRow) -> float:
    """How long the device may take to answer. Nobody looks at one that answers after the time of the watch."""
    return ANSWER_S if order.kind != WATCH else max(order.seconds or 0.0, LEAST_WATCH_ANSWER_S)


def _words(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds > 3600 else f"{seconds:g} s"


def _elapsed(since: float | None, now: float) -> float:
    """Either way: after a clock was set back, an order must not hold up the next ones until its time comes again."""
    return abs(now - since) if since is not None else 0.0


def advance(session: Session, order: OrderRow, director: Director, now: float) -> None:
    """Take the next step of an order, if it is due."""
    if not is_due(session, order, now):
        return
    if order.state == "pending":
        _send(session, order, director, now)
    elif order.state == "sent":
        _end(session, order, "failed", f"no answer within {_words(_answer_s(order))}", now)
    elif order.kind == WATCH:
        _end(session, order, "done", order.detail, now)
    else:
        _adopt(session, order, director, now)


def _send(session: Session, order: OrderRow, director: Director, now: float) -> None:
    reported = twins.find(session, order.device).reported
    order.before = codec.encode(reported) if reported else None
    order.sequence = orders.next_sequence(session, order.device, now)
    order.envelope = director.command(
        Command(
            device=order.device,
            id=order.id,
            kind=order.kind,
            issued=now,
            model=order.model,
            sequence=order.sequence,
            expires=now + _answer_s(order),
            incarnation=identities.incarnation(session, order.device),
            seconds=watched_s(session, order, now) if order.kind == WATCH else None,
        )
    )
    order.state, order.sent = "sent", now
    session.flush()  # the next order of the same device must see that this one is on its way
    events.add(session, Event(now, "ordered", order.device, f"{order.kind} {order.model or ''}".rstrip()))


def _adopt(session: Session, order: OrderRow, director: Director, now: float) -> None:
    """Make what the device runs now its desired state, as far as the rollback can have led there."""
    twin = twins.find(session, order.device)
    for name, model in _models(twin.reported, order.model).items():
        assigned = twin.assignment(name)
        if model.current is None or (assigned and assigned.is_in(model.current)):
            continue
        policy = assigned.policy if assigned else TransferPolicy()
        back = RolledBack(order.device, name, model.current, order.sent or order.created, policy)
        try:
            assignment = adopt(session, director, back, now)
        except SkerryError as error:
            events.add(
                session, Event(now, "kept", order.device, f"{model.current.release} runs on the device, but {error}")
            )
            continue
        director.assign(session, order.device, name, assignment)
    _end(session, order, "done", order.detail or "rolled back", now)


def fail(session: Session, order: OrderRow, why: str, now: float) -> None:
    """End an order that this host cannot carry out."""
    _end(session, order, "failed", why, now)


def _end(session: Session, order: OrderRow, state: str, detail: str, now: float) -> None:
    order.state, order.detail, order.ended = state, detail, now
    events.add(session, Event(now, "order", order.device, f"{order.kind} {state}: {detail}"))


def _is_busy(session: Session, device: str) -> bool:
    """A device has one command topic, so one command at a time; a removal is none."""
    query = select(OrderRow.id).where(OrderRow.device == device, OrderRow.kind != REMOVAL)
    query = query.where(OrderRow.state.in_(("sent", "answered")))
    return session.scalars(query.limit(1)).first() is not None


def _has_settled(session: Session, order: OrderRow) -> bool:
    """The device reports another current release, or the end of the attempt that was under way. A watch has no more."""
    if order.kind == WATCH:
        return True
    now = _models(twins.find(session, order.device).reported, order.model)
    before = _models(codec.decode(order.before, Reported) if order.before else None, order.model)
    return any(name not in before or _differs(before[name], model) for name, model in now.items())


def _differs(before: ModelReport, now: ModelReport) -> bool:
    if now.state not in {"idle", "committed"}:
        return False
    if _identity(before.current) != _identity(now.current):
        return True
    ended = now.deployment is not None and now.deployment.outcome is not None
    return ended and before.deployment is not None and before.deployment.outcome is None


def _identity(slot: SlotReport | None) -> tuple[str, str] | None:
    """What tells one slot from another: the same release may run with another runtime."""
    return (slot.manifest_sha256, slot.runtime_sha256) if slot is not None else None


def _models(reported: Reported | None, only: str | None) -> dict[str, ModelReport]:
    models = reported.models if reported else {}
    return {name: model for name, model in models.items() if only in {None, name}}
