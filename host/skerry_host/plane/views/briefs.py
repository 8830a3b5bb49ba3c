"""Every device in a few words, for lists that put first what needs attention. Kept in memory: only changes are read.

May be forgotten at any time. Holds no figures: those are read for the devices that are shown.
"""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_host.fleet.device import Device
from skerry_host.plane.registry.records import alarms, changes, devices, twins
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.tables import DeviceRow, TwinRow
from skerry_host.plane.views.gather import device_views
from skerry_host.plane.views.views import DeviceView

FAILED = frozenset({"failed", "rejected", "rolled_back", "timed_out"})
AT_REST = frozenset({"serving", "idle"})
NEEDS_ATTENTION, BUSY, WELL = 0, 1, 2


class Brief(Struct, frozen=True):
    """One device: whether it is connected (None: nobody knows), and of its models what each does and how it ended."""

    device: Device
    online: bool | None
    last_seen: float | None
    conditions: tuple[str, ...] = ()
    failed: bool = False
    issues: int = 0
    alarms: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The device's name."""
        return self.device.id

    @property
    def rank(self) -> int:
        """What a person should see first has the lowest: what is wrong, then what is going on."""
        if not self.online or self.issues or self.alarms or self.failed or "not_serving" in self.conditions:
            return NEEDS_ATTENTION
        return WELL if set(self.conditions) <= AT_REST else BUSY

    @property
    def states(self) -> tuple[str, ...]:
        """What it counts as in a summary: its alarms, and that it is not connected, or what its models do."""
        if self.online is None:
            return ("unknown", *self.alarms)
        return (*self.alarms, *(self.conditions or ("idle",))) if self.online else ("offline", *self.alarms)


class Briefs:
    """Asked by one thread."""

    def __init__(self) -> None:
        self._seen: Changes = NOTHING
        self._known: dict[str, Brief] = {}
        self._alarmed: frozenset[str] = frozenset()

    def read(self, session: Session, *, connected: bool) -> list[Brief]:
        """All devices of the fleet by id; where no plane is `connected` to them, nobody knows which are online."""
        now = changes.now(session)
        if not now.goes_on_from(self._seen):
            self._known, self._seen = {}, NOTHING
        since, alarmed = self._seen, self._alarmed
        if since.alarms != now.alarms:
            self._alarmed = frozenset(alarm.device for alarm in alarms.every(session))
        if (since.devices, since.twins, since.alarms) != (now.devices, now.twins, now.alarms):
            again = alarmed | self._alarmed if since.alarms != now.alarms else frozenset()
            self._read_changed(session, again | {device for device, _ in twins.changed(session, since.twins)})
        self._seen = now
        query = select(TwinRow.device, TwinRow.online, TwinRow.last_seen).order_by(TwinRow.device)
        here = session.execute(query.where(TwinRow.device.not_in(devices.gone())))
        rows = ((self._known.get(device), online, seen) for device, online, seen in here)
        return [_now(brief, online if connected else None, seen) for brief, online, seen in rows if brief is not None]

    def _read_changed(self, session: Session, changed: frozenset[str]) -> None:
        query = select(DeviceRow)
        new = [row for row in session.scalars(query) if row.id in changed or row.id not in self._known]
        found = [Device(row.id, row.board, frozenset(row.tags), tuple(row.targets)) for row in new]  # type: ignore[arg-type]
        self._known.update({each.id: _brief(each, view) for each, view in _with_views(session, found)})


def summary(briefs: Iterable[Brief]) -> list[tuple[str, int]]:
    """How many devices or models are in each state, most first."""
    return Counter(state for brief in briefs for state in brief.states).most_common()


def _with_views(session: Session, found: list[Device]) -> Iterable[tuple[Device, DeviceView]]:
    return zip(found, device_views(session, found, history=0), strict=True)


def _brief(device: Device, view: DeviceView) -> Brief:
    conditions = tuple(model.condition for model in view.models)
    failed = any(model.outcome in FAILED and model.missed for model in view.models)
    sounding = tuple(alarm.kind for alarm in view.alarms)
    return Brief(device, view.online, view.last_seen, conditions, failed, len(view.issues), sounding)


def _now(brief: Brief, online: bool | None, seen: float | None) -> Brief:
    return replace(brief, online=online, last_seen=seen)
