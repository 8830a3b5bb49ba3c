"""What the log says of each step of the update machine: one line for each that changes its record. Pure.

A sentence for each event, and what is common to all as fields: the model, the release, the ids, the states before and
after, how a deployment ended and why.
"""

from msgspec import Struct

from skerry_agent.machine import events
from skerry_agent.machine.events import Event
from skerry_agent.machine.records import Deployment, Record

SENTENCES: dict[type[Event], str] = {
    events.Booted: "went on after a restart",
    events.Ordered: "an order was taken",
    events.OrderLapsed: "an order passed its deadline before it could be written down",
    events.Withdrawn: "the host withdrew the deployment",
    events.Fetched: "everything is downloaded",
    events.FetchFailed: "the download failed",
    events.Verified: "the bundle is made and verified",
    events.Rejected: "the release was rejected",
    events.PatchFailed: "a patch failed",
    events.PatchRefused: "a patch cannot be applied here",
    events.StageCrashed: "the updater died while it made the bundle",
    events.StageFailed: "the bundle could not be made",
    events.CandidateReady: "the candidate is ready and goes on probation",
    events.CandidateFailed: "the candidate failed",
    events.CandidateLost: "the candidate was lost for a reason outside it",
    events.ProbationPassed: "the candidate passed probation and is committed",
    events.Settled: "the deployment is done",
    events.CurrentFailed: "the current release failed",
    events.Serving: "the current release serves",
    events.Healthy: "the current release is healthy again",
    events.RollbackOrdered: "a rollback was ordered",
    events.FactoryFound: "the factory release takes over",
    events.Expired: "the deadline of the deployment passed",
}
"""Of every event; a test holds that none is missing."""

GOOD_ENDS = frozenset({"succeeded", "cancelled"})
BAD = (
    events.CandidateLost,
    events.CurrentFailed,
    events.FactoryFound,
    events.PatchFailed,
    events.PatchRefused,
    events.StageCrashed,
)

OF_CURRENT = (events.CurrentFailed, events.Serving, events.Healthy)
"""What happens to the release that serves, which need not be the one that was ordered last."""


class Transition(Struct, frozen=True):
    """One step: the record before, what happened, the record after."""

    before: Record
    event: Event
    after: Record


def line_of(step: Transition) -> tuple[str, str, dict[str, object]] | None:
    """(level, sentence, fields) of a step; None where nothing changed."""
    before, event, after = step.before, step.event, step.after
    if before == after:
        return None
    deployment = after.deployment if after.deployment is not None else before.deployment
    ended = deployment is not None and deployment != before.deployment and deployment.outcome is not None
    failed = ended and deployment is not None and deployment.outcome not in GOOD_ENDS
    bad = isinstance(event, BAD) or (failed and not isinstance(event, events.RollbackOrdered))
    return "warning" if bad else "info", SENTENCES[type(event)], _fields(step, deployment, ended=ended)


def _fields(step: Transition, deployment: Deployment | None, *, ended: bool) -> dict[str, object]:
    before, after = step.before, step.after
    current, fields = after.slots.current, dict[str, object]()
    served = before.slots.current if isinstance(step.event, OF_CURRENT) and not ended else None
    if served is not None and (deployment is None or served.release != deployment.release):
        fields |= {"release": served.release, "target": served.target}
    elif deployment is not None:
        fields |= {"release": deployment.release, "deployment": deployment.id, "target": deployment.target}
        runtime = after.slots.candidate.runtime if after.slots.candidate is not None else None
        fields |= {"runtime": runtime.name} if runtime is not None else {}
    fields["state"] = f"{before.state}->{after.state}" if before.state is not after.state else after.state.value
    if ended and deployment is not None:
        fields |= {"outcome": deployment.outcome, "reason": deployment.reason or None}
        fields |= {"detail": deployment.detail or None}
    fields |= {key: value for key, value in _told(step.event).items() if fields.get(key) is None}
    if current != before.slots.current or current is None or current.release != fields.get("release"):
        fields["current"] = current.release if current is not None else "none"
    if deployment is not None and deployment.attempts and not ended:
        fields["attempts"] = deployment.attempts  # so that the same step of another attempt is another line
    if after.crashes:
        fields["crashes"] = after.crashes
    if after.outages:
        fields["outages"] = after.outages
    return fields


def _told(event: Event) -> dict[str, object]:
    """What the event itself says."""
    names = ("reason", "detail", "transfer", "bytes_received")
    return {name: value for name in names if (value := getattr(event, name, None))}
