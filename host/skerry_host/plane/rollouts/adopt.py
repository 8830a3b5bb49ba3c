"""Wants what a device runs already, so that it is sent neither forward nor back to what nobody has ordered.

Where the device's own word and the store disagree about a release, nothing is wanted: the device keeps what it has.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy.orm import Session

from skerry_agent.wire.twin import Assignment, SlotReport, TransferPolicy
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.rollouts.director import Director


@dataclass(frozen=True, slots=True)
class Running:
    """What a device says that it runs of a model, and the policy that holds there."""

    device: str
    model: str
    slot: SlotReport
    policy: TransferPolicy


def adopt(session: Session, director: Director, running: Running, reason: str, now: float) -> Assignment:
    """An assignment of what runs, with a deployment that has succeeded already for it to point at.

    Raises `SkerryError` when the store does not hold the release, or holds another of that name.
    """
    row = _deployment(running, reason, now)
    assignment = director.assignment(row, running.policy)
    if assignment.manifest.sha256 != running.slot.manifest_sha256:
        hint = "start a rollout of the release that it shall run"
        raise PlaneError(f"the store holds another {row.release} than the device runs", hint=hint, code="other_release")
    session.add(row)
    return assignment


def _deployment(running: Running, reason: str, now: float) -> DeploymentRow:
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
