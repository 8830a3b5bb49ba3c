"""Whether the plane runs, for every command that shows a state or orders something. Starts and stops nothing."""

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from skerry_host.cli.common import ago
from skerry_host.cli.lines import write_error
from skerry_host.plane.views import plane_state
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.views import DeviceView

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from skerry_host.plane.registry.database import Registry


def plane_now(session: "Session") -> PlaneView:
    """The plane of a registry; where it does not run, one line on standard error says since when."""
    now = time.time()
    view = plane_state.seen(session, now)
    say(view, now)
    return view


def say(view: PlaneView, now: float) -> None:
    """The line, if there is one."""
    line = view.line(now)
    if line:
        write_error("warning", line)


class PlaneWatcher:
    """For commands that wait: says each time that the plane has gone or come again."""

    def __init__(self, opened: "Registry") -> None:
        self._opened = opened
        self._known: str | None = None

    def look(self) -> PlaneView:
        """Look, and say what is new."""
        now = time.time()
        with self._opened.read() as session:
            view = plane_state.seen(session, now)
        if view.state != self._known:
            if view.running and self._known is not None:
                write_error("note", "the plane runs again")
            elif not view.running:
                write_error("warning", f"{view.line(now)}; until then nothing happens, and this waits")
        self._known = view.state
        return view


def known(device: DeviceView, plane: PlaneView) -> DeviceView:
    """What is known of a device: whether it is connected only a plane knows that runs."""
    return device if plane.running else replace(device, online=None)


def connection(device: DeviceView, plane: PlaneView, now: float) -> tuple[str, str]:
    """(words, colour) of whether a device is connected, or was when that was last known; its alarms with it."""
    words, colour = _connection(device, plane, now)
    sounding = [label(alarm.kind) for alarm in device.alarms]
    return (", ".join([words, *sounding]), "red") if sounding else (words, colour)


def _connection(device: DeviceView, plane: PlaneView, now: float) -> tuple[str, str]:
    if plane.running:
        return ("online", "green") if device.online else ("offline", "red")
    if device.online and plane.at is not None:
        return f"unknown (last online {ago(plane.at, now)})", "yellow"
    return f"unknown (last seen {ago(device.last_seen, now)})" if device.last_seen else "unknown (never seen)", "yellow"
