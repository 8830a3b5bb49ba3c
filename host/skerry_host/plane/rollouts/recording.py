"""Records a rollout of one wave, whatever it is of: the row, a deployment for each device, and the event.

Chooses no devices, and decides nothing about them.
"""

import secrets
from collections.abc import Iterable, Sized

from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.records import events
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow


def require_devices(selection: str, devices: Sized) -> None:
    """Raises `FleetError` for a rollout to nobody."""
    if not devices:
        hint = "`skerry device list` shows boards and tags"
        raise FleetError(f"{selection} selects no devices", hint=hint, code="no_devices")


def new_rollout(release: str, selection: str, policy: Policy, now: float) -> RolloutRow:
    """A rollout that begins with the next tick; its id begins with the name of what is rolled out."""
    return RolloutRow(
        id=f"{release.partition('@')[0][:40]}-{secrets.token_hex(4)}",
        release=release,
        selection=selection,
        policy=codec.encode(policy),
        state="pending",
        created=now,
    )


def record(session: Session, rollout: RolloutRow, deployments: Iterable[DeploymentRow], what: str) -> str:
    """Record it with its deployments, and `what` is rolled out as an event; its id."""
    made = list(deployments)
    session.add(rollout)
    session.flush()
    session.add_all(made)
    text = f"{what} for {rollout.selection}: {len(made)} devices"
    events.add(session, Event(rollout.created, "rollout", rollout.id, text))
    return rollout.id
