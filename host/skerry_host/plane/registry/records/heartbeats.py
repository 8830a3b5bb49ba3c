"""The plane's heartbeat: one row that the serving process renews, by which everybody else knows whether it runs.

Knows no clock and no process list: who reads it judges (`views.plane_state`).
"""

from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from skerry_host.plane.registry.tables import HeartbeatRow

ONLY = 1
"""The row: one plane serves a registry."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a serving process last said of itself, by its host's clock, in seconds since 1970.

    `instance` tells one run from the next. `ticked` is when the rollout loop last turned, `stopped` when it was told to
    end. `boot` tells whether `pid` is of the same process list as that of whoever reads this.
    """

    at: float
    ticked: float
    started: float
    stopped: float | None
    instance: str
    pid: int
    host: str
    boot: str
    version: str


def find(session: Session) -> Heartbeat | None:
    """The last one; None where no plane has ever served this registry."""
    row = session.get(HeartbeatRow, ONLY)
    return None if row is None else Heartbeat(**{name: getattr(row, name) for name in Heartbeat.__slots__})


def store(session: Session, heartbeat: Heartbeat) -> None:
    """Take over the row."""
    session.merge(HeartbeatRow(id=ONLY, **{name: getattr(heartbeat, name) for name in Heartbeat.__slots__}))


def renew(session: Session, instance: str, at: float, ticked: float) -> bool:
    """Say that an instance still runs; False where another one has taken over since."""
    mine = (HeartbeatRow.id == ONLY, HeartbeatRow.instance == instance)
    done = session.execute(update(HeartbeatRow).where(*mine).values(at=at, ticked=ticked))
    return bool(done.rowcount)  # type: ignore[attr-defined]


def stop(session: Session, instance: str, at: float) -> None:
    """Say that an instance has ended as it was told to."""
    mine = (HeartbeatRow.id == ONLY, HeartbeatRow.instance == instance)
    session.execute(update(HeartbeatRow).where(*mine).values(stopped=at))
