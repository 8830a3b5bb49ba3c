"""The plan of a rollout: from what is known and the time, to the next actions. Performs none of them.

    pending ──admit──> running ──every wave passed its gate──> succeeded
       │                  └────a wave did not────────────────> failed
       └──ordered by a person──> aborting ──nothing is left open──> aborted

A wave is admitted as a whole, once the wave before it has ended and passed its gate. A deployment ends when its device
reports an outcome; one whose order is refused is ended here with the refusal's code, at once; and if the device sends
no report for `policy.silence_s`, as timed_out, so that no rollout waits for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skerry_agent.wire.causes import EXTERNAL_CAUSES
from skerry_agent.wire.refusals import REFUSALS
from skerry_agent.wire.twin import Outcome
from skerry_host.fleet.gate import evaluate_gate
from skerry_host.fleet.policy import Policy

RolloutState = Literal["pending", "running", "aborting", "succeeded", "failed", "aborted"]
ENDED: tuple[RolloutState, ...] = ("succeeded", "failed", "aborted")


LEFT_FLEET = frozenset({"revoked", "retired"})
"""Reasons of deployments that ended because the device left the fleet."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A group moving to a release. Times are seconds since 1970."""

    id: str
    release: str
    state: RolloutState
    policy: Policy


@dataclass(frozen=True, slots=True)
class Deployment:
    """One device's attempt: `sent` is when it was ordered, `heard` when the device last reported on it.

    `refused` is the code with which its order was refused before anything was begun (`wire.refusals`), empty if not.
    """

    id: str
    device: str
    wave: int
    sent: float | None = None
    heard: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    refused: str = ""

    @property
    def external(self) -> bool:
        """Whether it did not succeed, and the release is not to blame."""
        return self.outcome != "succeeded" and self.reason in EXTERNAL_CAUSES | LEFT_FLEET


@dataclass(frozen=True, slots=True)
class Admit:
    """Send a deployment to its device."""

    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Close:
    """End a deployment from the host's side; the device keeps what it runs."""

    deployment: Deployment
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class EnterState:
    """The rollout enters a state."""

    state: RolloutState
    reason: str


Action = Admit | Close | EnterState


def plan(rollout: Rollout, deployments: Sequence[Deployment], now: float) -> list[Action]:
    """The actions that are due now, in order; empty when the rollout waits for its devices or has ended."""
    if rollout.state in ENDED:
        return []
    if rollout.state == "aborting":
        return _abort(deployments)
    refused = [Close(d, _outcome(d.refused), d.refused) for d in deployments if d.refused and d.outcome is None]
    late = [Close(d, "timed_out", _silence(rollout.policy)) for d in deployments if _is_late(rollout.policy, d, now)]
    if refused or late:
        return [*refused, *(close for close in late if not close.deployment.refused)]
    return _advance(rollout, deployments)


def next_due(rollout: Rollout, deployments: Sequence[Deployment]) -> float | None:
    """When `plan` may have something to do though nothing has changed: the next deployment is silent for too long."""
    if rollout.state in ENDED:
        return None
    heard = (_last_heard(d) for d in deployments if d.sent is not None and d.outcome is None)
    oldest = min(heard, default=None)
    return None if oldest is None else oldest + rollout.policy.silence_s


def _outcome(code: str) -> Outcome:
    """How a refusal ends a deployment; a code that is not in the table comes from a newer agent."""
    return REFUSALS[code].outcome if code in REFUSALS else "rejected"


def _abort(deployments: Sequence[Deployment]) -> list[Action]:
    closing: list[Action] = [Close(d, "cancelled", "the rollout was aborted") for d in deployments if d.outcome is None]
    return [*closing, EnterState("aborted", f"{len(closing)} deployments cancelled")]


def _advance(rollout: Rollout, deployments: Sequence[Deployment]) -> list[Action]:
    """Go through the waves in order up to the first that has not passed its gate."""
    begin: list[Action] = [EnterState("running", "admitted")] if rollout.state == "pending" else []
    reason = "no devices"
    for wave in sorted({d.wave for d in deployments}):
        members = [d for d in deployments if d.wave == wave]
        if any(d.outcome is None for d in members):
            admitted = [Admit(d) for d in members if d.sent is None and d.outcome is None]
            return [*begin, *admitted]
        judged = [d.outcome for d in members if d.outcome is not None and not d.external]
        result = evaluate_gate(rollout.policy, judged, len(members) - len(judged))
        if not result.passed:
            return [*_halt(deployments, wave), EnterState("failed", result.reason)]
        reason = result.reason
    return [*begin, EnterState("succeeded", reason)]


def _halt(deployments: Sequence[Deployment], wave: int) -> list[Action]:
    """Cancel the deployments of later waves, which were never sent."""
    return [Close(d, "cancelled", f"wave {wave} did not pass its gate") for d in deployments if d.outcome is None]


def _is_late(policy: Policy, deployment: Deployment, now: float) -> bool:
    if deployment.sent is None or deployment.outcome is not None:
        return False
    return now - _last_heard(deployment) > policy.silence_s


def _last_heard(deployment: Deployment) -> float:
    return max(deployment.sent or 0.0, deployment.heard or 0.0)


def _silence(policy: Policy) -> str:
    return f"no report for {policy.silence_s:g} s"
