"""Rollouts and deployments as rows, and as the pure values that `fleet.rollout` plans with."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Float, case, func, select
from sqlalchemy import cast as cast_to
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.refusals import REFUSALS
from skerry_agent.wire.twin import Assignment, DeploymentReport, Outcome
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED, Deployment, Rollout, RolloutState
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import twins
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow
from skerry_host.release.fitting import Admission

log = logging.getLogger(__name__)

REFUSED = "refused"
"""The state of a deployment whose order was refused, until the rollout loop has ended it with the reason."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order is not carried out: a code of `wire.refusals`, and the detail of this case."""

    code: str
    detail: str

    @property
    def words(self) -> str:
        """The detail, and what the table says is to be done."""
        hint = REFUSALS[self.code].hint if self.code in REFUSALS else ""
        return "; ".join(filter(None, (self.detail, hint)))


def find(session: Session, rollout_id: str) -> RolloutRow:
    """A rollout by id, or by the beginning of one where only one fits; raises `UnknownError`."""
    row = session.get(RolloutRow, rollout_id)
    if row is not None:
        return row
    prefixed = select(RolloutRow).where(RolloutRow.id.startswith(rollout_id, autoescape=True)).limit(2)
    fitting = session.scalars(prefixed).all() if rollout_id else []
    if len(fitting) == 1:
        return fitting[0]
    hint = "`skerry rollout status` lists them"
    raise UnknownError(f"there is no rollout {rollout_id!r}", hint=hint, code="no_rollout")


def latest(session: Session, limit: int = 20) -> Sequence[RolloutRow]:
    """The newest rollouts first."""
    return session.scalars(select(RolloutRow).order_by(RolloutRow.created.desc(), RolloutRow.id).limit(limit)).all()


def releases(session: Session) -> frozenset[str]:
    """All releases that a rollout has named."""
    return frozenset(session.scalars(select(RolloutRow.release).distinct()))


def active(session: Session) -> Sequence[RolloutRow]:
    """Rollouts that have not ended, oldest first."""
    query = select(RolloutRow).where(RolloutRow.state.not_in(ENDED)).order_by(RolloutRow.created, RolloutRow.id)
    return session.scalars(query).all()


def deployments(session: Session, rollout_id: str, most: int | None = None, behind: int = 0) -> Sequence[DeploymentRow]:
    """The deployments of a rollout by wave and device: all, or at most so many behind the first few."""
    query = select(DeploymentRow).where(DeploymentRow.rollout == rollout_id)
    return session.scalars(query.order_by(DeploymentRow.wave, DeploymentRow.device).offset(behind).limit(most)).all()


@dataclass(frozen=True, slots=True)
class Tally:
    """The deployments of a rollout in figures: how many with each outcome (None: open), and their bytes."""

    outcomes: dict[str | None, int]
    bytes_received: int
    full_bytes: int


def tally(session: Session, rollout_id: str) -> Tally:
    """Counted by the database; `full_bytes` are of the devices that received anything."""
    received_bytes = DeploymentRow.bytes_received
    full = case((received_bytes > 0, DeploymentRow.full_bytes), else_=0)
    sums = (func.sum(cast_to(each, Float(53))) for each in (received_bytes, full))  # of whole numbers one may overflow
    query = select(DeploymentRow.outcome, func.count(), *sums)
    rows = session.execute(query.where(DeploymentRow.rollout == rollout_id).group_by(DeploymentRow.outcome)).all()
    received, of = sum(int(row[2]) for row in rows), sum(int(row[3]) for row in rows)
    return Tally({row[0]: row[1] for row in rows}, received, of)


def members(session: Session, rollouts: Sequence[str], since: int = -1) -> Iterator[tuple[str, Deployment]]:
    """(rollout, deployment) of what changed in some rollouts after a number (see `changes`), by wave and device."""
    mine = (DeploymentRow.rollout.in_(rollouts), DeploymentRow.changed > since)
    query = select(
        DeploymentRow.rollout,
        DeploymentRow.id,
        DeploymentRow.device,
        DeploymentRow.wave,
        DeploymentRow.sent,
        DeploymentRow.heard,
        DeploymentRow.outcome,
        DeploymentRow.reason,
        case((DeploymentRow.state == REFUSED, DeploymentRow.reason), else_=""),
    ).where(*mine)
    for rollout, id_, device, wave, sent, heard, outcome, reason, refused in session.execute(
        query.order_by(DeploymentRow.wave, DeploymentRow.device)
    ):
        ended = cast("Outcome | None", outcome)
        yield rollout or "", Deployment(id_, device, wave, sent, heard, ended, reason, refused)


def waiting(session: Session) -> Iterator[tuple[str, str, str, str]]:
    """(device, release, target, runtime) of each deployment that is about to be sent."""
    columns = select(DeploymentRow.device, DeploymentRow.release, DeploymentRow.target, DeploymentRow.runtime)
    query = columns.join(RolloutRow, RolloutRow.id == DeploymentRow.rollout)
    unsent = (RolloutRow.state.not_in(ENDED), DeploymentRow.outcome.is_(None), DeploymentRow.sent.is_(None))
    yield from session.execute(query.where(*unsent))


def rows(session: Session, deployments: Iterable[str]) -> list[DeploymentRow]:
    """The rows of some deployments: while they are held, a session need not look for them again."""
    query = select(DeploymentRow)
    return [row for part in parts(deployments) for row in session.scalars(query.where(DeploymentRow.id.in_(part)))]


def open_of(session: Session, device: str, model: str) -> Sequence[DeploymentRow]:
    """Deployments of a model that were sent to a device and have not ended."""
    query = select(DeploymentRow).where(
        DeploymentRow.device == device,
        DeploymentRow.model == model,
        DeploymentRow.sent.is_not(None),
        DeploymentRow.outcome.is_(None),
    )
    return session.scalars(query).all()


def models_sent(session: Session, device: str) -> set[str]:
    """The models of which anything was ever sent to a device."""
    query = select(DeploymentRow.model).where(DeploymentRow.device == device, DeploymentRow.sent.is_not(None))
    return set(session.scalars(query.distinct())) - {twins.AGENT}


def refuse(session: Session, deployments: Iterable[str], refusal: Refusal, now: float) -> list[str]:
    """The order of these deployments is refused: of those under way the rollout loop ends each. Returns their ids."""
    found = [row for row in rows(session, deployments) if row.sent is not None and row.outcome is None]
    for row in found:
        row.state, row.reason, row.detail, row.heard = REFUSED, refusal.code, refusal.words, now
        flag_modified(row, "heard")  # its change is what is counted, even where it is of this very moment
    return [row.id for row in found]


def as_rollout(row: RolloutRow) -> Rollout:
    """The pure value of a row."""
    return Rollout(row.id, row.release, cast("RolloutState", row.state), codec.decode(row.policy, Policy))


def admission(row: RolloutRow) -> Admission | None:
    """Who was left out as it was started; None of one from before that was kept, or where it is damaged."""
    try:
        return codec.decode(row.admission, Admission) if row.admission else None
    except WireError as error:
        log.warning("who was left out of rollout %s is damaged in the registry: %s", row.id, error)
        return None


def fallback(row: DeploymentRow) -> Assignment | None:
    """The last assignment that succeeded before this deployment; None where that is damaged."""
    try:
        return codec.decode(row.fallback, Assignment) if row.fallback else None
    except WireError as error:
        log.warning("what deployment %s falls back to is damaged in the registry: %s", row.id, error)
        return None


def apply_report(session: Session, device: str, report: DeploymentReport, now: float) -> str | None:
    """Store a device's report on a deployment; returns the outcome if this report is the one that ends it."""
    row = session.get(DeploymentRow, report.id)
    if row is None or row.device != device or not _may_become(session, row, report.outcome):
        return None
    if row.outcome == "succeeded":
        row.fallback = None  # what it has left is not wanted any more, and by its word alone nothing older is
    row.state, row.heard, row.reason, row.detail = report.state, now, report.reason, report.detail
    row.transfer, row.seconds, row.attempts, row.gap_us = (
        report.transfer,
        report.seconds,
        report.attempts,
        report.gap_us,
    )
    row.bytes_received, row.bytes_expected = report.bytes_received, report.bytes_expected
    row.transports = ", ".join(report.transports)[:64]
    if report.outcome is None:
        return None
    row.outcome, row.ended = report.outcome, now
    return report.outcome


def _may_become(session: Session, row: DeploymentRow, said: str | None) -> bool:
    """An outcome is final, except that a device may roll back what it has committed, and return if that fails.

    It also resumes a deployment that an ordered rollback had cancelled. Only of what is still desired: the past is the
    host's record.
    """
    if row.outcome is None:
        return True
    was = "ordered" if row.outcome == "cancelled" and row.reason == "ordered" else row.outcome
    if (was, said) not in {("succeeded", "rolled_back"), ("rolled_back", "succeeded"), ("ordered", "succeeded")}:
        return False
    return twins.find(session, row.device).deployment(row.model) == row.id
