"""Adopts the release that a device runs as its desired state, so that it is not moved to a release nobody has ordered.

Where the store holds another release of that name than the device runs, there is no desired state for the model, and
the device keeps what it has.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy.orm import Session

from skerry_agent.wire.twin import Assignment, SlotReport, TransferPolicy
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.rollouts.director import Director


@dataclass(frozen=True, slots=True)
class RunningRelease:
    """The release of a model that a device reports to run, and the transfer policy in force."""

    device: str
    model: str
    slot: SlotReport
    policy: TransferPolicy


def adopt(session: Session, director: Director, running: RunningRelease, reason: str, now: float) -> Assignment:
    """An assignment of the running release, with a deployment for it that counts as succeeded already.

    Raises `SkerryError` when the store does not hold the release, or holds another of that name.
    """
    row = _deployment(running, reason, now)
    assignment = director.assignment(row, running.policy)
    if assignment.manifest.sha256 != running.slot.manifest_sha256:
        hint = "start a rollout of the release that it should run"
        raise PlaneError(
            f"the store's {row.release} differs from the one that the device runs", hint=hint, code="other_release"
        )
    session.add(row)
    return assignment


def _deployment(running: RunningRelease, reason: str, now: float) -> DeploymentRow:
    return DeploymentRow(
        id=f"back-{secrets.token_hex(6)}",
        device=running.device,
        model=running.model,
        release=running.slot.release,
        target=running.slot.target,
        state="committed",
        outcome="succeeded",
        reason=reason,
        created=now,
        sent=now,
        heard=now,
        ended=now,
    )
