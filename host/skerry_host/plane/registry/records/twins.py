"""Each device's twin: its desired state and what it last reported. Drops messages that are old or duplicates."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.refusals import message_sha256
from skerry_agent.wire.twin import Assignment, Desired, DeviceState, Reported
from skerry_agent.wire.upgrades import AgentOrder
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import TwinRow

AGENT = "@agent"
"""What stands for a model where a deployment is of the agent itself: no model has such a name."""

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Twin:
    """Desired and Reported of one device; `online` as its last birth or will said."""

    device: str
    generation: int
    desired: Desired | None
    envelope: bytes | None
    reported: Reported | None
    online: bool
    agent: str | None
    last_seen: float | None

    def deployment(self, model: str) -> str | None:
        """The deployment by which the host wants what it wants of a model, or of the agent itself (`AGENT`)."""
        if model != AGENT:
            assigned = self.assignment(model)
            return assigned.deployment if assigned is not None else None
        return self.desired.agent.deployment if self.desired is not None and self.desired.agent is not None else None

    def assignment(self, model: str) -> Assignment | None:
        """What the host wants the device to run of a model."""
        wanted = self.desired.assignments if self.desired else ()
        return next((a for a in wanted if a.model == model), None)


def find(session: Session, device_id: str) -> Twin:
    """The twin of an enrolled device. What it reported counts as not there if that is damaged.

    Raises `WireError` when its desired state is: nothing may be signed that leaves out what is not known.
    """
    return _twin(session.get_one(TwinRow, device_id))


def of(session: Session, devices: Iterable[str]) -> dict[str, Twin]:
    """The twins of some enrolled devices, by device."""
    return {twin.device: twin for twin in each(session, devices)}


def rows(session: Session, devices: Iterable[str]) -> list[TwinRow]:
    """The rows of some enrolled devices: while they are held, a session need not look for them again."""
    return [row for part in parts(devices) for row in session.scalars(select(TwinRow).where(TwinRow.device.in_(part)))]


def is_online(session: Session, device: str) -> bool:
    """Whether an enrolled device is connected, as its last birth or will said."""
    return session.get_one(TwinRow, device).online


def none_connected(session: Session, since: float) -> None:
    """The broker was started at `since`: whoever was connected to the one before it connects anew, or is gone.

    The last will of a device that went while no broker ran was published by nobody.
    """
    before = TwinRow.online & (TwinRow.state_at < since)
    session.execute(update(TwinRow).where(before).values(online=False))


def each(session: Session, devices: Iterable[str]) -> Iterator[Twin]:
    """The twins of some enrolled devices, a few in memory at a time; what cannot be read counts as not there."""
    for part in parts(devices):
        yield from map(_readable, session.scalars(select(TwinRow).where(TwinRow.device.in_(part))))


def changed(session: Session, since: int) -> Iterator[tuple[str, bool]]:
    """(device, settled) of each twin that changed after a number (see `changes`).

    A settled one needs no blobs for its desired state.
    """
    query = select(TwinRow.device, TwinRow.settled).where(TwinRow.changed > since)
    yield from session.execute(query)


def generations(session: Session, since: int) -> dict[str, int]:
    """The generation of each desired state in the twins that changed after a number (see `changes`)."""
    query = select(TwinRow.device, TwinRow.generation).where(TwinRow.envelope.is_not(None), TwinRow.changed > since)
    return dict(session.execute(query).all())


def envelopes(session: Session, devices: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    """(generation, signed bytes) of the desired states of some devices."""
    columns = select(TwinRow.device, TwinRow.generation, TwinRow.envelope)
    rows = (row for part in parts(devices) for row in session.execute(columns.where(TwinRow.device.in_(part))))
    return {device: (generation, envelope) for device, generation, envelope in rows if envelope}


def store_desired(session: Session, desired: Desired, envelope: bytes) -> None:
    """Store a device's new desired state, with the exact bytes that were signed."""
    row = session.get_one(TwinRow, desired.device)
    row.generation = desired.generation
    row.desired = codec.encode(desired)
    row.envelope = envelope
    row.settled = _is_settled(row)


@dataclass(frozen=True, slots=True)
class LastWord:
    """Boot and sequence of the last birth or will, or of the last reported state, that was stored."""

    boot: str
    sequence: int


def last_state(session: Session, device: str) -> LastWord | None:
    """Of an enrolled device; None before the first."""
    row = session.get_one(TwinRow, device)
    return None if row.state_boot is None else LastWord(row.state_boot, row.state_sequence or 0)


def last_reported(session: Session, device: str) -> LastWord | None:
    """Of an enrolled device; None before the first."""
    row = session.get_one(TwinRow, device)
    return None if row.reported_boot is None else LastWord(row.reported_boot, row.reported_sequence or 0)


def clear(session: Session, device: str) -> None:
    """Nothing is desired of a device any more, and it counts as gone: it is not heard, so its last will is not either.

    The generation stays: an order that is signed later is newer than all before.
    """
    row = session.get_one(TwinRow, device)
    row.desired = row.envelope = None
    row.settled, row.online = True, False


def cleared(session: Session, since: int) -> list[str]:
    """The devices of which nothing is desired any more, in the twins that changed after a number (see `changes`)."""
    query = select(TwinRow.device).where(TwinRow.envelope.is_(None), TwinRow.generation > 0, TwinRow.changed > since)
    return list(session.scalars(query))


def accept_state(session: Session, state: DeviceState, now: float, *, returned: bool = False) -> bool:
    """Store a birth or last will; False when it is of an older connection of the same boot, or a duplicate.

    One that has `returned` counts for itself, so that its sequence may be lower.
    """
    row = session.get(TwinRow, state.device)
    if row is None or (not returned and row.state_boot == state.boot and _is_old(row, state)):
        return False
    row.online, row.state_boot, row.state_sequence, row.state_at = state.online, state.boot, state.sequence, now
    row.agent = state.agent or row.agent
    if state.online:
        row.last_seen = now
    return True


def accept_reported(session: Session, reported: Reported, raw: bytes, now: float, *, returned: bool = False) -> bool:
    """Store a device's reported state; False when it is a duplicate. `returned` is as of `accept_state`."""
    row = session.get(TwinRow, reported.device)
    if row is None:
        return False
    same = row.reported_boot == reported.boot
    if same and not returned and (row.reported_sequence or 0) >= reported.sequence:
        return False
    row.reported, row.reported_at = raw, now
    row.reported_boot, row.reported_sequence = reported.boot, reported.sequence
    row.agent = reported.agent or row.agent
    row.last_seen = now
    row.settled = _is_settled(row)
    return True


def speaks(session: Session, device: str) -> bool:
    """A device has said something new: it is online. True where it was taken for offline. For one whose row is read."""
    row = session.get(TwinRow, device)
    if row is None or row.online or row.state_boot is None:
        return False
    row.online = True
    return True


def alive(session: Session, devices: Iterable[str]) -> list[str]:
    """The same of several whose rows are not read: in one query. Returns those that were taken for offline."""
    found: list[str] = []
    for part in parts(devices):
        offline = TwinRow.device.in_(part) & ~TwinRow.online & TwinRow.state_boot.is_not(None)
        found += session.scalars(update(TwinRow).where(offline).values(online=True).returning(TwinRow.device))
    return found


def generation(session: Session, device: str) -> tuple[int, int]:
    """(the newest generation that was signed for an enrolled device, the one that it last reported)."""
    row = session.get_one(TwinRow, device)
    reported = _or_none(row.reported, Reported, device)
    return row.generation, reported.generation if reported else 0


def refusals(session: Session, device: str) -> set[tuple[str, str]]:
    """(message, code) of the refusals in what an enrolled device has reported so far."""
    row = session.get(TwinRow, device)
    reported = _or_none(row.reported, Reported, device) if row is not None else None
    return {(each.message_sha256, each.code) for each in reported.refused} if reported else set()


def is_desired(session: Session, device: str, message: str) -> bool:
    """Whether the message of this sha256 is an enrolled device's desired state."""
    row = session.get_one(TwinRow, device)
    return row.envelope is not None and message_sha256(row.envelope) == message


def ordered_by(session: Session, device: str, message: str) -> list[str]:
    """The deployments that a device's desired state orders, if that is the message of this sha256; else none."""
    row = session.get_one(TwinRow, device)
    if row.desired is None or not is_desired(session, device, message):
        return []
    desired = _or_none(row.desired, Desired, device)
    if desired is None:
        return []
    agent = [desired.agent.deployment] if desired.agent is not None else []
    return [*(assigned.deployment for assigned in desired.assignments), *agent]


def seen(session: Session, devices: Iterable[str], now: float) -> None:
    """Record that some devices sent a message."""
    for part in parts(devices):
        session.execute(update(TwinRow).where(TwinRow.device.in_(part)).values(last_seen=now))


def last_heard(session: Session) -> float | None:
    """When the newest message of any device was stored."""
    return session.scalar(select(func.max(TwinRow.last_seen)))


def open_assignments(twin: Twin) -> list[Assignment]:
    """Assignments that the device has neither completed nor given up."""
    return [a for a in (twin.desired.assignments if twin.desired else ()) if not _has_ended(twin, a)]


def open_upgrade(twin: Twin) -> AgentOrder | None:
    """The order for the agent itself that the device has neither completed nor given up."""
    order, reported = twin.desired.agent if twin.desired else None, twin.reported
    said = reported.upgrade if reported is not None else None
    if order is None or (said is not None and said.deployment == order.deployment and said.outcome is not None):
        return None
    return order


def _is_settled(row: TwinRow) -> bool:
    twin = _readable(row)
    return not open_assignments(twin) and open_upgrade(twin) is None


def _has_ended(twin: Twin, assignment: Assignment) -> bool:
    """The device runs what is assigned, or has ended the attempt to."""
    model = twin.reported.models.get(assignment.model) if twin.reported else None
    if model is None:
        return False
    if model.deployment is not None and model.deployment.id == assignment.deployment:
        return model.deployment.outcome is not None
    return assignment.is_in(model.current)


def _is_old(row: TwinRow, state: DeviceState) -> bool:
    known = row.state_sequence if row.state_sequence is not None else -1
    return state.sequence < known or (state.sequence == known and (state.online or not row.online))


def _readable(row: TwinRow) -> Twin:
    """The twin of a row, also if one of its states is damaged: one device must not hide all others."""
    desired, reported = _or_none(row.desired, Desired, row.device), _or_none(row.reported, Reported, row.device)
    return Twin(row.device, row.generation, desired, row.envelope, reported, row.online, row.agent, row.last_seen)


def _or_none(raw: bytes | None, kind: type[T], device: str) -> T | None:
    try:
        return codec.decode(raw, kind) if raw else None
    except WireError as error:
        log.warning("the %s state of %s in the registry is damaged: %s", kind.__name__.lower(), device, error)
        return None


def _twin(row: TwinRow) -> Twin:
    desired = codec.decode(row.desired, Desired) if row.desired else None
    return replace(_readable(row), desired=desired)
