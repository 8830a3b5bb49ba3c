"""Enrolled devices and named groups of them."""

import re
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.names import MODEL_PATTERN
from skerry_agent.wire.targets import TargetName
from skerry_host.fleet import group
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import events
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import DeviceRow, GroupRow, TwinRow


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
    """All devices by id."""
    query = select(DeviceRow.id, DeviceRow.board, DeviceRow.tags, DeviceRow.targets).order_by(DeviceRow.id)
    return [_of(*row) for row in session.execute(query)]


def page(session: Session, after: str, most: int) -> tuple[list[Device], str | None]:
    """At most so many devices behind an id, by id; and the id to go on after, None where these were the last."""
    query = select(DeviceRow).where(DeviceRow.id > after).order_by(DeviceRow.id).limit(most + 1)
    found = [_device(row) for row in session.scalars(query)]
    return found[:most], found[most - 1].id if len(found) > most else None


def ids(session: Session) -> set[str]:
    """The ids of all devices."""
    return set(session.scalars(select(DeviceRow.id)))


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
    """The devices that match a selection, by id; raises `WhereError`."""
    return group.select(group.parse(where), all_devices(session))


def _device(row: DeviceRow) -> Device:
    return _of(row.id, row.board, row.tags, row.targets)


def _of(name: str, board: str, tags: list[str], targets: list[str]) -> Device:
    return Device(name, board, frozenset(tags), cast("tuple[TargetName, ...]", tuple(targets)))
