"""The rollout loop: asks the pure planner what is to be done next and does it in the registry, one transaction a tick.

`delivery.publish` sends the result to the devices from the registry, so that a plane that is killed at any moment
resumes from what was committed. While nothing changes and no time has come, a tick is one small query. Talks to no
broker.
"""

import logging
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Protocol

from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.twin import Assignment
from skerry_agent.wire.upgrades import AgentOrder
from skerry_host.fleet.rollout import Action, Admit, Close, EnterState, Rollout, plan
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import changes, events, orders, rollouts, settings, twins
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import DeploymentRow, OrderRow, RolloutRow
from skerry_host.plane.rollouts import removal, rollback
from skerry_host.plane.rollouts.active import ActiveRollouts
from skerry_host.plane.rollouts.apart import Apart, concerns_all
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import REMOVAL
from skerry_host.text import MOST, clean

MAX_ADMITTED = 200
PLANNED_BY = ("rollouts", "deployments", "alarms")
"""The kinds of records of which a change may make a rollout go on."""
PLANE_ERROR = "plane_error"
"""How what the host itself cannot carry out has failed; the detail says why."""

log = logging.getLogger(__name__)


class RolloutLoop:
    """Advances rollouts and ordered rollbacks, each apart from the others: one that fails holds up none.

    What it keeps in memory, it could read anew at any time.
    """

    def __init__(self, registry: Registry, director: Director, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._director = director
        self._clock = clock
        self._active = ActiveRollouts()
        self._seen: Changes = NOTHING
        self._apart = Apart(clock)
        self._rollout_due = self._order_due = inf
        self._looked_at = 0.0

    def tick(self) -> bool:
        """Do what is due; True when anything was, and there may be more. Takes the write lock only if there is."""
        now = self._clock()
        with self._registry.read() as session:
            due = self._is_due(session, now)
        if not due:
            return False
        try:
            with self._registry.write() as session:
                self._advance(session, now)
        except BaseException:
            self._active.forget()  # it may hold what was not written after all
            raise
        self._seen = NOTHING
        return True

    def _is_due(self, session: Session, now: float) -> bool:
        """Looks at the rollouts and orders only if something has changed, or the time has come."""
        before, changed = self._seen, changes.now(session)
        rollouts_changed = any(getattr(before, kind) != getattr(changed, kind) for kind in PLANNED_BY)
        orders_changed = (before.orders, before.twins) != (changed.orders, changed.twins)
        if before.removed != changed.removed or rollouts_changed or now > self._rollout_due:
            self._active.refresh(session)
            if any(self._has_work(rollout, now) for rollout in self._active.rollouts):
                return True
            self._rollout_due = min(self._active.next_due(), self._apart.next_try)
        set_back, self._looked_at = now < self._looked_at, now
        if before.removed != changed.removed or orders_changed or now > self._order_due or set_back:
            waiting = orders.open_orders(session)
            if any(self._order_is_due(session, row, now) for row in waiting):
                return True
            times = [due for row in waiting if (due := rollback.next_due(row)) is not None]
            self._order_due = min([*times, self._apart.next_try])
        self._seen = changed
        return False

    def _advance(self, session: Session, now: float) -> None:
        self._active.refresh(session)
        for rollout in list(self._active.rollouts):
            if self._has_work(rollout, now):
                self._apart.work(session, f"rollout {rollout.id}", partial(self._carry_on, session, rollout, now))
            self._active.refresh(session)  # one rollout may have superseded deployments of the next
        for order in orders.open_orders(session):
            if self._order_is_due(session, order, now):
                self._carry_out(session, order, now)

    def _has_work(self, rollout: Rollout, now: float) -> bool:
        name = f"rollout {rollout.id}"
        return self._apart.ask(name, lambda: bool(self._plan(rollout, now)))

    def _plan(self, rollout: Rollout, now: float) -> list[Action]:
        """What is due; nothing is begun on a device whose name another one bears, until that has ended."""
        actions, paused = plan(rollout, self._active.members(rollout), now), self._active.paused
        return [each for each in actions if not (isinstance(each, Admit) and each.deployment.device in paused)]

    def _order_is_due(self, session: Session, order: OrderRow, now: float) -> bool:
        """Also one of which it cannot be said: it is then ended, and holds up none after it."""
        try:
            return _steps(order).is_due(session, order, now)
        except Exception as error:
            if concerns_all(error):
                raise
            return True

    def _carry_out(self, session: Session, order: OrderRow, now: float) -> None:
        """One order; one that cannot be carried out has failed, and says why."""
        try:
            with session.begin_nested():
                _steps(order).advance(session, order, self._director, now)
        except Exception as error:
            if concerns_all(error):
                raise
            log.exception("order %s of device %s cannot be carried out", order.id, order.device)
            rollback.fail(session, order, f"{PLANE_ERROR}: {clean(str(error), MOST)}", now)

    def _carry_on(self, session: Session, rollout: Rollout, now: float) -> None:
        """All actions together; if one fails, each by itself, so that one that cannot be deployed to stops no other."""
        actions = _some(self._plan(rollout, now))
        try:
            with session.begin_nested():
                self._perform_all(session, rollout, actions)
        except Exception as error:
            if concerns_all(error):
                raise
            for action in actions:
                self._perform_apart(session, rollout, action)

    def _perform_all(self, session: Session, rollout: Rollout, actions: list[Action]) -> None:
        row = session.get_one(RolloutRow, rollout.id)
        rows = _prefetch(session, actions)  # noqa: F841 - a session forgets rows that nobody holds
        for action in actions:
            self._perform(session, row, action)
        session.flush()

    def _perform_apart(self, session: Session, rollout: Rollout, action: Action) -> None:
        """One action; a deployment that cannot be sent or closed as it should be has failed, and says why."""
        try:
            with session.begin_nested():
                self._perform_all(session, rollout, [action])
        except Exception as error:
            if concerns_all(error) or isinstance(action, EnterState):
                raise
            deployment = action.deployment
            log.exception("deployment %s of device %s cannot be carried out", deployment.id, deployment.device)
            row = session.get_one(DeploymentRow, deployment.id)
            row.detail = clean(str(error), MOST)
            self._end(session, row, "failed", PLANE_ERROR)

    def _perform(self, session: Session, rollout: RolloutRow, action: Action) -> None:
        match action:
            case Admit(deployment):
                self._admit(session, rollout, session.get_one(DeploymentRow, deployment.id))
            case Close(deployment, outcome, reason):
                self._close(session, session.get_one(DeploymentRow, deployment.id), outcome, reason)
            case EnterState(state, reason):
                rollout.state, rollout.reason = state, reason
                rollout.ended = None if state == "running" else self._clock()
                self._note(session, state, rollout.id, f"{rollout.release}: {reason}")

    def _admit(self, session: Session, rollout: RolloutRow, row: DeploymentRow) -> None:
        try:
            order = self._director.order(row, rollouts.as_rollout(rollout).policy)
            found = self._director.obstacle(row, twins.find(session, row.device).reported)
        except SkerryError as error:
            log.warning("deployment %s: %s", row.id, error)
            self._close(session, row, "failed", str(error))
            return
        if found is not None:
            log.warning("deployment %s: %s", row.id, found.words)
            row.detail = rollouts.Refusal(found.code, found.words).words
            self._close(session, row, "failed", found.code)
            return
        kept = self._fallback(session, row)
        row.fallback = codec.encode(kept) if kept else None
        for earlier in rollouts.open_of(session, row.device, row.model):
            self._end(session, earlier, "cancelled", f"superseded by {row.release}")
        if isinstance(order, AgentOrder):
            self._director.upgrade(session, row.device, order)
        else:
            self._director.assign(session, row.device, row.model, order)
        row.sent = self._clock()
        self._note(session, "deploying", row.device, row.release)

    def _close(self, session: Session, row: DeploymentRow, outcome: str, reason: str) -> None:
        """End a deployment; wanted is then what was assigned before, whatever the device says that it runs.

        Of the agent itself nothing is wanted then: it stays the one that it is.
        """
        self._end(session, row, outcome, reason)
        if twins.find(session, row.device).deployment(row.model) != row.id:
            return
        if row.model == twins.AGENT:
            self._director.upgrade(session, row.device, None)
        else:
            self._director.assign(session, row.device, row.model, rollouts.fallback(row))

    def _end(self, session: Session, row: DeploymentRow, outcome: str, reason: str) -> None:
        row.outcome, row.reason, row.ended = outcome, reason, self._clock()
        self._note(session, outcome, row.device, f"{row.release}: {reason}")

    def _fallback(self, session: Session, row: DeploymentRow) -> Assignment | None:
        """The last assignment that succeeded: a failed one must not come back when this one is closed."""
        current = twins.find(session, row.device).assignment(row.model)
        if current is None:
            return None
        earlier = session.get(DeploymentRow, current.deployment)
        return current if earlier is None or earlier.outcome == "succeeded" else rollouts.fallback(earlier)

    def _note(self, session: Session, kind: str, subject: str, text: str) -> None:
        events.add(session, Event(self._clock(), kind, subject, text))


class Steps(Protocol):
    """What knows the steps of an order of one kind: a module."""

    def is_due(self, session: Session, order: OrderRow, now: float) -> bool:
        """Whether `advance` would do anything."""

    def advance(self, session: Session, order: OrderRow, director: Director, now: float) -> None:
        """Take the next step."""


def _steps(order: OrderRow) -> Steps:
    return removal if order.kind == REMOVAL else rollback


def _some(actions: list[Action]) -> list[Action]:
    """The actions of one transaction: devices are admitted a few at a time, since others wait for the write lock."""
    admitted = [action for action in actions if isinstance(action, Admit)]
    return [action for action in actions if not isinstance(action, Admit)] + admitted[:MAX_ADMITTED]


def _prefetch(session: Session, actions: list[Action]) -> list[object]:
    """The rows of the devices that are admitted, in three queries instead of several a device."""
    admitted = [action.deployment for action in actions if isinstance(action, Admit)]
    names = [deployment.device for deployment in admitted]
    deployments = rollouts.rows(session, [deployment.id for deployment in admitted])
    return [*deployments, *twins.rows(session, names), *settings.rows(session, names)]
