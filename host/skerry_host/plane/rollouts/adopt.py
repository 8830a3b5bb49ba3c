"""Adopts the release that an ordered rollback has led to as a device's desired state, so that it stays there.

Only the host's own record says which releases that can be: the last two of the model that it had assigned to this
device and that had succeeded when the rollback was ordered. What the device reports chooses between them and brings
nothing else in: neither a release that was never assigned to it, nor one from further back. Where it reports something
else, nothing is adopted, and the device keeps what it has.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.targets import with_fallback
from skerry_agent.wire.twin import Assignment, SlotReport, TransferPolicy
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.rollouts.director import Director

WITHIN = 2
"""The releases that one rollback can lead to: that of before, or the newest where it ended an attempt under way."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The model of a device that reports what it runs after a rollback that was ordered at `ordered`."""

    device: str
    model: str
    slot: SlotReport
    ordered: float
    policy: TransferPolicy


def adopt(session: Session, director: Director, back: RolledBack, now: float) -> Assignment:
    """An assignment of the running release, with a deployment for it that counts as succeeded already.

    Raises `SkerryError` when it is none of those that the rollback can have led to, or not in the store.
    """
    ran = (back.slot.release, back.slot.runtime)
    earlier = next((row for row in _assigned(session, back) if (row.release, row.runtime) == ran), None)
    if earlier is None:
        raise _refused("by this host's record the rollback cannot have led there")
    row = _again(earlier, back.slot, now)
    assignment = director.assignment(row, back.policy)
    if not assignment.is_in(replace(back.slot, runtime_gone=False)):
        raise _refused(f"the store's {row.release}, or its runtime, differs from what the device runs")
    session.add(row)
    return assignment


def _refused(why: str) -> PlaneError:
    return PlaneError(why, hint="start a rollout of the release that it should run", code="other_release")


def _assigned(session: Session, back: RolledBack) -> Sequence[DeploymentRow]:
    """The newest deployment of each of the last releases and runtimes that ran here, by when sent, newest first.

    One that was rolled back since the order ran until then.
    """
    mine = (DeploymentRow.device == back.device, DeploymentRow.model == back.model, DeploymentRow.sent.is_not(None))
    ran = (DeploymentRow.outcome == "succeeded") | (
        (DeploymentRow.outcome == "rolled_back") & (DeploymentRow.ended >= back.ordered)
    )
    newest: dict[tuple[str, str], DeploymentRow] = {}
    for row in session.scalars(select(DeploymentRow).where(*mine, ran).order_by(DeploymentRow.sent.desc())):
        newest.setdefault((row.release, row.runtime), row)
        if len(newest) == WITHIN:
            break
    return list(newest.values())


def _again(row: DeploymentRow, slot: SlotReport, now: float) -> DeploymentRow:
    """A device whose accelerator is missing may run the release for the target that stands in for the ordered one."""
    return DeploymentRow(
        id=f"back-{secrets.token_hex(6)}",
        device=row.device,
        model=row.model,
        release=row.release,
        target=slot.target if slot.target in with_fallback(row.target) else row.target,
        state="committed",
        outcome="succeeded",
        reason="rolled back on order",
        created=now,
        sent=now,
        heard=now,
        ended=now,
        runtime=row.runtime,
    )
