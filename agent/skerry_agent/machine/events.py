"""What can happen to a deployment (events) and what the machine wants done about it (effects). Pure data.

An event says what happened; an effect says what to do. Every effect is idempotent: a crash may have it ordered again.
"""

from msgspec import Struct

from skerry_agent.machine.records import Deployment, Slot
from skerry_agent.wire.twin import Transfer

# -- events: what happened ---------------------------------------------------------------------------------------------


class Event(Struct, frozen=True):
    """Base of all events."""


class Booted(Event, frozen=True):
    """The agent has started and read its journal."""


class Ordered(Event, frozen=True):
    """The host wants a release that is not this record's deployment.

    `anew`: what runs lacks something, so it is made again even where it is what was ordered.
    """

    deployment: Deployment
    anew: bool = False


class OrderLapsed(Event, frozen=True):
    """An order that could never be written down has passed its deadline."""

    deployment: Deployment
    detail: str


class Withdrawn(Event, frozen=True):
    """The host no longer wants the deployment under way."""


class Fetched(Event, frozen=True):
    """Everything the deployment needs is on disk."""

    transfer: Transfer
    bytes_received: int = 0
    transports: tuple[str, ...] = ()


class FetchFailed(Event, frozen=True):
    """The fetch has failed: `reason` is a stable word, for instance disk_full, over_budget, full_not_allowed."""

    reason: str
    detail: str = ""


class Verified(Event, frozen=True):
    """The bundle is complete, every hash is right, and it lies in its folder."""

    slot: Slot


class Rejected(Event, frozen=True):
    """Trust or the manifest forbids it."""

    reason: str
    detail: str = ""


class PatchFailed(Event, frozen=True):
    """The patch did not give the artifact it promised."""

    detail: str = ""


class PatchRefused(Event, frozen=True):
    """The board cannot hold what applying the patch takes; nothing was begun."""

    reason: str
    detail: str = ""


class StageCrashed(Event, frozen=True):
    """The updater ended without an answer while it made the bundle: killed for want of memory, say, or hung."""

    reason: str
    detail: str = ""


class StageFailed(Event, frozen=True):
    """The bundle could not be made for another reason, for instance a full disk."""

    reason: str
    detail: str = ""


class CandidateReady(Event, frozen=True):
    """The candidate is loaded, validated on golden inputs and warm."""


class CandidateFailed(Event, frozen=True):
    """The candidate was refused, crashed, hung or broke a budget."""

    reason: str
    detail: str = ""


class CandidateLost(Event, frozen=True):
    """The candidate ended for a reason that is not its own (`causes.TRIED_AGAIN`)."""

    reason: str
    detail: str = ""


class ProbationPassed(Event, frozen=True):
    """The candidate has met every condition on real load."""


class Settled(Event, frozen=True):
    """What a commit leaves to do is done."""


class CurrentFailed(Event, frozen=True):
    """The runner of the current bundle crashed, hung or did not start."""

    reason: str
    detail: str = ""


class Serving(Event, frozen=True):
    """The current bundle answers."""


class Healthy(Event, frozen=True):
    """The current bundle has answered long enough for its crashes to be forgotten."""


class RollbackOrdered(Event, frozen=True):
    """A rollback was ordered: to the previous bundle, or to the one that is given: the factory release, verified."""

    reason: str = "ordered"
    to: Slot | None = None


class FactoryFound(Event, frozen=True):
    """The factory release was found and verified, because nothing else serves. `reason`: why nothing serves."""

    slot: Slot
    reason: str
    detail: str = ""


class Expired(Event, frozen=True):
    """The deployment's deadline has passed."""


# -- effects: what to do -----------------------------------------------------------------------------------------------


class Effect(Struct, frozen=True):
    """Base of all effects."""


class Serve(Effect, frozen=True):
    """Have the current slot answer: take it back from a candidate, or start it."""


class SeekFactory(Effect, frozen=True):
    """Nothing serves: look for a factory release and have it verified."""


class Fetch(Effect, frozen=True):
    """Fetch manifest, artifacts or patch of the deployment."""


class Stage(Effect, frozen=True):
    """Verify what was fetched and make the bundle."""


class StartCandidate(Effect, frozen=True):
    """Load and validate the candidate beside the current one."""


class Admit(Effect, frozen=True):
    """Hand the listening socket to the candidate and begin its probation."""


class Retire(Effect, frozen=True):
    """The candidate is now the current one: stop the runner it replaced."""


class Drop(Effect, frozen=True):
    """Stop everything that works for the deployment: transfer, updater, candidate."""


class Collect(Effect, frozen=True):
    """Remove from disk what no slot and no deployment needs."""
