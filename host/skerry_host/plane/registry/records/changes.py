"""How far the registry has changed: a number for each kind of record, which triggers in the database count up.

Whoever keeps something in memory compares these, and reads again what has a higher number: it sees what any process
wrote. Read the numbers before the rows: what is written in between is then read once more, and never missed.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_host.plane.registry.tables import ChangeRow


@dataclass(frozen=True, slots=True)
class Changes:
    """The number of the last change of each kind; `removed` counts rows that were deleted, after which read all anew.

    `identities` are those of devices, their claims and revoked certificates; `pending` the boards that wait. Telemetry
    and the time a device was last seen are not counted.
    """

    devices: int = -1
    twins: int = -1
    rollouts: int = -1
    deployments: int = -1
    orders: int = -1
    removed: int = -1
    identities: int = -1
    pending: int = -1
    alarms: int = -1

    def goes_on_from(self, before: "Changes") -> bool:
        """Whether rows without a higher number are as they were: none was deleted, and no backup was restored."""
        return self.removed == before.removed and all(
            getattr(self, kind) >= getattr(before, kind) for kind in self.__slots__
        )


NOTHING = Changes()
"""Before anything was read: every row has a higher number."""


def now(session: Session) -> Changes:
    """The numbers as of this session."""
    rows = session.execute(select(ChangeRow.kind, ChangeRow.number))
    return Changes(**dict(rows.all()))
