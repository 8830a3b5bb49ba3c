"""The rollouts that have not ended, kept in memory and brought up to date by what changed in the registry.

Decides nothing and writes nothing: the rollout loop plans with these values. May be forgotten at any time.
"""

import logging
from collections.abc import Iterable
from math import inf

from sqlalchemy.orm import Session

from skerry_agent.wire.errors import SkerryError
from skerry_host.fleet.rollout import Deployment, Rollout, next_due
from skerry_host.plane.registry.records import alarms, changes, rollouts
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.tables import RolloutRow

log = logging.getLogger(__name__)


class ActiveRollouts:
    """`rollouts` with their `members`, as of the last `refresh`."""

    def __init__(self) -> None:
        self.rollouts: list[Rollout] = []
        self.paused: frozenset[str] = frozenset()
        """Devices to which nothing is sent: two answer to the name, and nobody knows which one would do it."""
        self._seen: Changes = NOTHING
        self._members: dict[str, dict[str, Deployment]] = {}

    def refresh(self, session: Session) -> Changes:
        """Read what any process has changed since the last time; returns how far this has come."""
        now = changes.now(session)
        if not now.goes_on_from(self._seen):
            self.forget()
        if now.alarms != self._seen.alarms:
            self.paused = alarms.devices(session, alarms.CLONED)
        if now.rollouts != self._seen.rollouts:
            self._read_rollouts(session)
        if now.deployments != self._seen.deployments and self._seen is not NOTHING:
            self._read_members(session)
        self._seen = now
        return now

    def forget(self) -> None:
        """Read everything anew the next time."""
        self.rollouts, self._seen, self._members = [], NOTHING, {}

    def members(self, rollout: Rollout) -> list[Deployment]:
        """The deployments of a rollout, by wave and device."""
        return list(self._members[rollout.id].values())

    def next_due(self) -> float:
        """When there may be something to do though nothing has changed; infinite for never."""
        times = (next_due(rollout, self.members(rollout)) for rollout in self.rollouts)
        return min((time for time in times if time is not None), default=inf)

    def _read_rollouts(self, session: Session) -> None:
        self.rollouts = [found for row in rollouts.active(session) if (found := self._readable(row)) is not None]
        known, self._members = self._members, {rollout.id: {} for rollout in self.rollouts}
        self._members |= {rollout: known[rollout] for rollout in known.keys() & self._members.keys()}
        new = [rollout for rollout in self._members if rollout not in known]
        self._take(rollouts.members(session, new))

    def _readable(self, row: RolloutRow) -> Rollout | None:
        """None of a row that cannot be read: the others go on, and the log says so each time that rollouts change."""
        try:
            return rollouts.as_rollout(row)
        except SkerryError:
            log.exception("rollout %s cannot be read and is left as it is", row.id)
            return None

    def _read_members(self, session: Session) -> None:
        self._take(rollouts.members(session, list(self._members), self._seen.deployments))

    def _take(self, members: Iterable[tuple[str, Deployment]]) -> None:
        for rollout, member in members:
            if rollout in self._members:
                self._members[rollout][member.id] = member
