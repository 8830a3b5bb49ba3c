"""Alarms: what a person must look at, of a device and a kind. An alarm ends by itself when its cause has been gone.

Sounding one that lasts already only renews it, so that neither the registry nor the trail of events can be filled by
whatever causes it. Decides nothing; the rollout loop starts nothing on a device that is `cloned`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from skerry_host.plane.registry.records import events
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import AlarmRow
from skerry_host.text import MOST, clean

CLONED = "cloned"
"""Two devices speak under one id."""
TAMPERING = "tampering"
"""Somebody else has written orders for it."""
UNSIGNED = "unsigned_generation"
"""It says that it has accepted an order that this host never signed. In no row: the twin says it."""

QUIET_S = 600.0
"""An alarm ends when its cause was not seen for so long."""
RENEW_S = 10.0
"""How often a lasting alarm is written again."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Since when it lasts, and when its cause was last seen."""

    device: str
    kind: str
    since: float
    last: float
    text: str


def sound(session: Session, alarm: Alarm) -> bool:
    """Begin an alarm, with an event, or renew it; whether it is a new one."""
    row = session.get(AlarmRow, (alarm.device, alarm.kind))
    if row is not None:
        if abs(alarm.last - row.last) >= RENEW_S:
            row.last = alarm.last
        return False
    text = clean(alarm.text, MOST)
    session.add(AlarmRow(device=alarm.device, kind=alarm.kind, since=alarm.since, last=alarm.last, text=text))
    session.flush()
    events.add(session, Event(alarm.since, alarm.kind, alarm.device, text))
    return True


def of(session: Session, devices: Iterable[str]) -> dict[str, tuple[Alarm, ...]]:
    """The alarms of some devices, by device; none of those that have none."""
    found: defaultdict[str, tuple[Alarm, ...]] = defaultdict(tuple)
    for part in parts(devices):
        query = select(AlarmRow).where(AlarmRow.device.in_(part)).order_by(AlarmRow.kind)
        for row in session.scalars(query):
            found[row.device] += (_alarm(row),)
    return dict(found)


def every(session: Session) -> list[Alarm]:
    """All alarms, by device and kind."""
    return [_alarm(row) for row in session.scalars(select(AlarmRow).order_by(AlarmRow.device, AlarmRow.kind))]


def devices(session: Session, kind: str) -> frozenset[str]:
    """The devices with an alarm of a kind."""
    return frozenset(session.scalars(select(AlarmRow.device).where(AlarmRow.kind == kind)))


def are_over(session: Session, now: float) -> bool:
    """Whether there is any to end. Either way: a clock that is set back must not keep one for ever."""
    return any(abs(now - last) > QUIET_S for last in session.scalars(select(AlarmRow.last)))


def end_quiet(session: Session, now: float) -> None:
    """End those whose cause was not seen for a while."""
    for row in session.scalars(select(AlarmRow)).all():
        if abs(now - row.last) > QUIET_S:
            _end(session, row, f"not seen for {QUIET_S / 60:g} minutes", now)


def end(session: Session, device: str, now: float) -> list[str]:
    """End the alarms of a device by hand; their kinds. One whose cause is still there begins anew."""
    rows = session.scalars(select(AlarmRow).where(AlarmRow.device == device)).all()
    for row in rows:
        _end(session, row, "ended by hand", now)
    return [row.kind for row in rows]


def forget(session: Session, device: str) -> None:
    """Without an event: the device has another id from now on."""
    session.execute(delete(AlarmRow).where(AlarmRow.device == device))


def unsigned(said: int, signed: int) -> str:
    """What is wrong with a device that has accepted an order which this host never signed."""
    return f"this host has not signed what it runs: it says generation {said}, the newest that was signed is {signed}"


def _end(session: Session, row: AlarmRow, why: str, now: float) -> None:
    session.delete(row)
    events.add(session, Event(now, "alarm_ended", row.device, f"{row.kind}: {why}"))


def _alarm(row: AlarmRow) -> Alarm:
    return Alarm(row.device, row.kind, row.since, row.last, row.text)
