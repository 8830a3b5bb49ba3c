"""Enrolled devices and named groups of them."""

import re
from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from skerry_agent.wire.names import MODEL_PATTERN
from skerry_agent.wire.targets import TargetName
from skerry_host.fleet import group
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import alarms, events, identities
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import (
    BootRow,
    ClaimRow,
    DeploymentRow,
    DeviceRow,
    GroupRow,
    IdentityRow,
    OrderRow,
    PendingRow,
    SettingsRow,
    TwinRow,
)


def add(session: Session, device: Device, now: float) -> None:
    """Enrol a device; raises `UnknownError` when its id is taken."""
    if session.get(DeviceRow, device.id) is not None:
        hint = "choose another name; `skerry device list` lists them"
        raise UnknownError(f"device {device.id} is already enrolled", hint=hint, code="exists")
    session.add(
        DeviceRow(id=device.id, board=device.board, tags=sorted(device.tags), targets=list(device.targets), created=now)
    )
    session.flush()
    session.add(TwinRow(device=device.id, generation=0, online=False))
    events.add(session, Event(now, "enrolled", device.id, f"board {device.board}"))


def find(session: Session, device_id: str) -> Device:
    """A device by id; raises `UnknownError`."""
    row = session.get(DeviceRow, device_id)
    if row is None:
        hint = "`skerry device list` lists them"
        raise UnknownError(f"there is no device {device_id!r}", hint=hint, code="no_device")
    return _device(row)


def all_devices(session: Session) -> list[Device]:
    """All devices of the fleet by id: without those that have left it."""
    query = select(DeviceRow.id, DeviceRow.board, DeviceRow.tags, DeviceRow.targets).order_by(DeviceRow.id)
    return [_of(*row) for row in session.execute(query.where(DeviceRow.id.not_in(gone())))]


def gone() -> Select[Any]:
    """The ids of those that have left the fleet, to leave out of a query."""
    return select(IdentityRow.device).where(IdentityRow.retired.is_not(None))


def retired(session: Session) -> list[Device]:
    """Those that have left it, by id."""
    query = select(DeviceRow).where(DeviceRow.id.in_(gone()))
    return [_device(row) for row in session.scalars(query.order_by(DeviceRow.id))]


def page(session: Session, after: str, most: int) -> tuple[list[Device], str | None]:
    """At most so many devices behind an id, by id; and the id to go on after, None where these were the last."""
    here = select(DeviceRow).where(DeviceRow.id > after, DeviceRow.id.not_in(gone()))
    query = here.order_by(DeviceRow.id).limit(most + 1)
    found = [_device(row) for row in session.scalars(query)]
    return found[:most], found[most - 1].id if len(found) > most else None


def ids(session: Session) -> set[str]:
    """The ids of all devices that are to be heard: neither revoked nor retired."""
    return set(session.scalars(select(DeviceRow.id))) - identities.denied(session)


def known(session: Session, names: Iterable[str]) -> set[str]:
    """Those of some ids that have a record, whether the device is heard or not."""
    query = select(DeviceRow.id)
    return {found for part in parts(names) for found in session.scalars(query.where(DeviceRow.id.in_(part)))}


def has_history(session: Session, device_id: str) -> bool:
    """Whether anything but its record bears a device's id: it was heard, or was ordered something."""
    twin = session.get_one(TwinRow, device_id)
    if twin.last_seen is not None or twin.generation:
        return True
    rows = (select(kind.device).where(kind.device == device_id).limit(1) for kind in (DeploymentRow, OrderRow, BootRow))
    return any(session.scalar(row) is not None for row in rows)


def rename(session: Session, old: str, new: str) -> None:
    """Give a record without a history another id."""
    row, twin = session.get_one(DeviceRow, old), session.get_one(TwinRow, old)
    made = DeviceRow(id=new, board=row.board, tags=row.tags, targets=row.targets, created=row.created)
    made.hardware_serial, made.claim = row.hardware_serial, row.claim
    session.add(made)
    session.flush()
    session.execute(update(ClaimRow).where(ClaimRow.device == old).values(device=new))
    session.execute(update(PendingRow).where(PendingRow.approved == old).values(approved=new))
    session.execute(update(SettingsRow).where(SettingsRow.device == old).values(device=new))
    alarms.forget(session, old)
    session.delete(twin)
    session.flush()
    session.delete(row)
    session.add(TwinRow(device=new, generation=0, online=False))
    session.flush()


def add_group(session: Session, name: str, where: str, now: float) -> None:
    """Keep a selection under a name; raises `WhereError`, `FleetError` or `UnknownError` when it is taken."""
    group.parse(where)
    if not re.match(MODEL_PATTERN, name):
        raise FleetError(f"group name {name!r} is not usable", hint="use up to 63 of a-z, 0-9, - and _")
    if session.get(GroupRow, name) is not None:
        raise UnknownError(f"group {name} already exists", hint="choose another name", code="exists")
    session.add(GroupRow(name=name, where=where, created=now))
    events.add(session, Event(now, "group", name, where))


def find_group(session: Session, name: str) -> str:
    """The selection of a group; raises `UnknownError`."""
    row = session.get(GroupRow, name)
    if row is None:
        raise UnknownError(f"there is no group {name!r}", hint="make it with `skerry group create`", code="no_group")
    return row.where


def all_groups(session: Session) -> list[tuple[str, str]]:
    """(name, selection) of all groups by name."""
    return [(row.name, row.where) for row in session.scalars(select(GroupRow).order_by(GroupRow.name))]


def members(session: Session, where: str) -> list[Device]:
    """The devices that match a selection and may be ordered something, by id; raises `WhereError`."""
    denied = identities.denied(session)
    return [found for found in group.select(group.parse(where), all_devices(session)) if found.id not in denied]


def set_tags(session: Session, device_id: str, tags: frozenset[str]) -> None:
    """Give a device these tags, in place of those that it has."""
    session.get_one(DeviceRow, device_id).tags = sorted(tags)


def renew(session: Session, device: Device) -> None:
    """Give a device's record the board and targets that another board of it has, and its tags if any are said.

    Without, it keeps its own: it would be out of its groups, and get no rollout any more.
    """
    row = session.get_one(DeviceRow, device.id)
    row.board, row.targets = device.board, list(device.targets)
    row.tags = sorted(device.tags) or row.tags


def _device(row: DeviceRow) -> Device:
    return _of(row.id, row.board, row.tags, row.targets)


def _of(name: str, board: str, tags: list[str], targets: list[str]) -> Device:
    return Device(name, board, frozenset(tags), cast("tuple[TargetName, ...]", tuple(targets)))
