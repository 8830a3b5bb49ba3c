"""Whether a plane runs, so that what the registry says is carried out, and is of now. Pure, except for `seen`.

Judged by the clock of whoever asks. Where a heartbeat is of this very machine, the process list decides at once; from
elsewhere a plane counts as running until its heartbeat is `DEAD_S` old. One of the future is of a clock that has been
set back, and says nothing of now.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct
from sqlalchemy.orm import Session

from skerry_host.plane.registry.records import heartbeats, twins
from skerry_host.plane.registry.records.heartbeats import Heartbeat
from skerry_host.plane.views.words import ago

DEAD_S = 15.0
"""Five heartbeats."""
AHEAD_S = 2.0
HANGS_S = 60.0

State = Literal["running", "hanging", "stopped", "lost", "never"]


class PlaneView(Struct, frozen=True):
    """The plane at one moment: `at` is when its state was last known to be as the registry says.

    `stopped`: it ended as it was told to; `lost`: it has not been heard of since; `hanging`: it is alive, and its loop
    has not turned for a minute; `never`: none has ever served this registry.
    """

    state: State
    at: float | None = None
    pid: int | None = None
    host: str | None = None
    version: str | None = None

    @property
    def running(self) -> bool:
        """Whether it carries out orders, and knows which devices are connected."""
        return self.state == "running"

    def line(self, now: float) -> str:
        """One line for a person, empty while it runs."""
        if self.running:
            return ""
        if self.at is None:
            return "the plane has never run here; start it with `skerry serve`"
        since = f"since {moment(self.at, now)} ({ago(self.at, now)})"
        if self.state == "hanging":
            return f"the plane (process {self.pid}) has carried out nothing {since}; see its log"
        return f"the plane is not running {since}; start it with `skerry serve`"


def seen(session: Session, now: float, exists: "Callable[[Heartbeat], bool] | None" = None) -> PlaneView:
    """The plane of a registry; one from before heartbeats is known by the last message that it stored."""
    beat = heartbeats.find(session)
    heard = twins.last_heard(session) if beat is None else None
    return judge(beat, now, exists or process_exists) if heard is None else PlaneView("lost", min(heard, now))


def judge(beat: Heartbeat | None, now: float, exists: Callable[[Heartbeat], bool]) -> PlaneView:
    """What a heartbeat says at a time."""
    if beat is None:
        return PlaneView("never")
    known = beat.pid, beat.host, beat.version
    if beat.stopped is not None:
        return PlaneView("stopped", beat.stopped, *known)
    if not -AHEAD_S <= now - beat.at <= DEAD_S or not exists(beat):
        return PlaneView("lost", min(beat.at, now), *known)
    if now - beat.ticked > HANGS_S:
        return PlaneView("hanging", beat.ticked, *known)
    return PlaneView("running", beat.at, *known)


def process_exists(beat: Heartbeat) -> bool:
    """False if its process is of this process list and is gone; True where nobody here can know."""
    if beat.boot != this_boot():
        return True
    try:
        os.kill(beat.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def this_boot() -> str:
    """Names this boot of this machine and its process list; empty where the kernel does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def moment(at: float, now: float) -> str:
    """A time of day as this machine's people read it, with the date where it is not today."""
    then, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)
