"""The update machine of one model: a table of (state, event), pure.

`step(record, event)` returns the next record and the effects to perform. The caller writes the record to the journal
first and performs the effects afterwards; every effect is idempotent, so after a crash `Booted` may repeat it. A pair
that is not in the table raises `IllegalTransitionError` and changes nothing: it is a bug of the caller. This module
does no I/O, has no clock, and never retries a deployment that has ended.

A deployment that has ended keeps its id in the record, so the same order, delivered again, is not carried out again.

The factory release is the fallback after current and previous. It is not in the record until it is needed: it is looked
for when nothing else can serve, and once verified it is the current slot like any other.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from skerry_agent.machine.causes import POWER_SUPPLY
from skerry_agent.machine.events import (
    Admit,
    Booted,
    CandidateFailed,
    CandidateLost,
    CandidateReady,
    Collect,
    CurrentFailed,
    Drop,
    Effect,
    Event,
    Expired,
    FactoryFound,
    Fetch,
    Fetched,
    FetchFailed,
    Healthy,
    Ordered,
    OrderLapsed,
    PatchFailed,
    PatchRefused,
    ProbationPassed,
    Rejected,
    Retire,
    RollbackOrdered,
    SeekFactory,
    Serve,
    Serving,
    Settled,
    Stage,
    StageCrashed,
    StageFailed,
    StartCandidate,
    Verified,
    Withdrawn,
)
from skerry_agent.machine.records import Deployment, Record, Slot, Slots, State
from skerry_agent.wire.causes import EXTERNAL_CAUSES
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.twin import Outcome

MAX_ATTEMPTS = 3
"""How often the same stage may be begun, where restarts of the agent or crashes of the updater cut it off, before the
deployment fails, or a patch gives way to the full artifact."""

MAX_FETCH_STARTS = 30
"""The same for fetching: higher, because a slow link may take days and many power cuts, but finite."""

MAX_CRASHES = 3
"""How many times in a row the current bundle may fail before the previous one takes its place."""

MAX_BROWNOUTS = 10
"""How many times in a row the current bundle may fail for causes outside it before one of a weak supply makes it give
way to the previous one."""

DAMAGED = ("bundle_damaged", "damaged")
"""Reasons that a restart of the runner cannot fix: the description or a file of the bundle has changed."""


class IllegalTransitionError(SkerryError):
    """An event came in a state that does not know it."""

    code = "illegal_transition"


Step = tuple[Record, list[Effect]]
Rule = Callable[[Record, Any], Step]


def step(record: Record, event: Event) -> Step:
    """The next record, and the effects to perform once it is in the journal. Raises `IllegalTransitionError`."""
    rule = TABLE.get((record.state, type(event)))
    if rule is None:
        raise IllegalTransitionError(f"{type(event).__name__} cannot happen in state {record.state}")
    return rule(record, event)


def removed_by_order(record: Record) -> bool:
    """Whether no release is held because an order removed it, and not because it failed."""
    ended = record.deployment
    if record.state is not State.IDLE or record.slots.current is not None or ended is None:
        return False
    return ended.outcome in {"cancelled", "rolled_back"} and ended.reason == RollbackOrdered().reason


# -- rules -------------------------------------------------------------------------------------------------------------


def _ended(record: Record, outcome: Outcome, reason: str = "", detail: str = "") -> Record:
    """The deployment is over and the candidate forgotten; the state is idle.

    A deployment under way has a detail only once its patch gave way to the full artifact: it says why.
    """
    deployment = record.deployment
    if deployment is not None and deployment.outcome is None:
        if deployment.detail and outcome in {"failed", "rejected"}:
            detail = f"{detail}; the patch before it: {deployment.detail}"
        deployment = replace(deployment, outcome=outcome, reason=reason, detail=detail)
    return replace(record, state=State.IDLE, deployment=deployment, slots=replace(record.slots, candidate=None))


def _stay(record: Record, _event: Event) -> Step:
    return record, []


def _serves(record: Record, _event: Event) -> Step:
    """The current bundle serves, so the one that it superseded is needed no more."""
    return replace(record, slots=replace(record.slots, superseded=None)), []


def _serve_again(record: Record, _event: Event) -> Step:
    return record, [Serve()]


def _serving(record: Record) -> list[Effect]:
    """What serves when no candidate does."""
    return [Serve()] if record.slots.current is not None else [SeekFactory()]


def _serve_and_tidy(record: Record, _event: Event) -> Step:
    """Also collect: the agent may have ended between the end of a deployment and the removal of its files."""
    return record, [*_serving(record), Collect()]


def _forget_crashes(record: Record, _event: Event) -> Step:
    return replace(record, crashes=0, outages=0), []


def _begin(record: Record, event: Ordered) -> Step:
    """Start to fetch, unless the current bundle is what was ordered."""
    if not event.anew and _is_current(record, event.deployment):
        done = replace(event.deployment, outcome="succeeded", reason="already_current")
        return replace(record, state=State.IDLE, slots=replace(record.slots, candidate=None), deployment=done), []
    slots = replace(record.slots, candidate=None)
    return replace(record, state=State.FETCHING, slots=slots, deployment=event.deployment), [Fetch()]


def _is_current(record: Record, deployment: Deployment) -> bool:
    """The same bundle, with the same runtime.

    A bundle that keeps failing is not what was ordered, whatever its name: ordered again, it is made anew.

    Nor is the factory release: ordered, it becomes a bundle of its own, so that no damage can hit both.
    """
    current = record.slots.current
    if current is None or current.factory or record.failures:
        return False
    ordered = (deployment.manifest.sha256, deployment.target, deployment.runtime_sha256)
    return (current.manifest_sha256, current.target, current.runtime_sha256) == ordered


def _replace_order(record: Record, event: Ordered) -> Step:
    """A newer order replaces the one under way. The current bundle takes the socket back if a candidate holds it."""
    begun, effects = _begin(record, event)
    return begun, [Drop(), *_taking_back(record), *effects]


def _taking_back(record: Record) -> list[Effect]:
    """What serves again when a candidate leaves.

    One that needs an accelerator to itself has made the current bundle stop before it was ready, so also when staged.
    """
    if record.state is State.PROBATION:
        return _serving(record)
    return [Serve()] if record.state is State.STAGED and record.slots.current is not None else []


def _withdraw(record: Record, _event: Event) -> Step:
    return _ended(record, "cancelled", "withdrawn"), [Drop(), *_taking_back(record), Collect()]


def _expire(record: Record, _event: Event) -> Step:
    return _ended(record, "timed_out", "deadline"), [Drop(), Collect()]


def _lapse(record: Record, event: OrderLapsed) -> Step:
    """It ends without having begun; the host shall hear of it."""
    ended = replace(event.deployment, outcome="timed_out", reason="disk", detail=event.detail)
    return replace(record, deployment=ended), []


def _fetched(record: Record, event: Fetched) -> Step:
    assert record.deployment is not None
    deployment = replace(
        record.deployment,
        transfer=event.transfer,
        bytes_received=event.bytes_received,
        transports=event.transports,
        attempts=0,
    )
    return replace(record, state=State.VERIFYING, deployment=deployment), [Stage()]


def _failed(record: Record, event: FetchFailed | StageFailed) -> Step:
    return _ended(record, "failed", event.reason, event.detail), [Drop(), Collect()]


def _rejected(record: Record, event: Rejected) -> Step:
    return _ended(record, "rejected", event.reason, event.detail), [Drop(), Collect()]


def _patch_failed(record: Record, event: PatchFailed) -> Step:
    return _full_instead(record, event.detail) or _failed(record, StageFailed("patch_failed", event.detail))


def _patch_refused(record: Record, event: PatchRefused) -> Step:
    full = _full_instead(record, f"{event.reason}: {event.detail}")
    return full or _rejected(record, Rejected(event.reason, event.detail))


def _full_instead(record: Record, why: str) -> Step | None:
    """Fetch the full artifact instead of the patch, once, unless the policy forbids it.

    Whether the link is metered is not known here: the plan of the new transfer finds out.
    """
    deployment = record.deployment
    assert deployment is not None
    if deployment.policy.full_fallback == "never" or deployment.transfer == "full":
        return None
    deployment = replace(deployment, transfer="full", attempts=0, detail=why)
    return replace(record, state=State.FETCHING, deployment=deployment), [Fetch()]


def _stage_crashed(record: Record, event: StageCrashed) -> Step:
    """Make the bundle again, within the persisted budget; after that the patch may be what kills the updater."""
    assert record.deployment is not None
    attempts = record.deployment.attempts + 1
    if attempts < MAX_ATTEMPTS:
        return replace(record, deployment=replace(record.deployment, attempts=attempts)), [Stage()]
    detail = f"begun {attempts} times: {event.detail}"
    return _patch_given_up(record, event.reason, detail) or _failed(record, StageFailed(event.reason, detail))


def _patch_given_up(record: Record, reason: str, detail: str) -> Step | None:
    """The full artifact instead of a patch on which the budget was spent; None where it was no patch."""
    assert record.deployment is not None
    return _full_instead(record, f"{reason}: {detail}") if record.deployment.transfer == "patch" else None


def _verified(record: Record, event: Verified) -> Step:
    assert record.deployment is not None
    deployment = replace(record.deployment, attempts=0, detail="")
    slots = replace(record.slots, candidate=event.slot)
    return replace(record, state=State.STAGED, slots=slots, deployment=deployment), [StartCandidate()]


def _retry(effect: Effect, state: State, budget: int = MAX_ATTEMPTS) -> Rule:
    """After a restart of the agent: the same stage once more, within the persisted budget."""

    def rule(record: Record, _event: Event) -> Step:
        assert record.deployment is not None
        attempts = record.deployment.attempts + 1
        if attempts >= budget:
            outcome: Outcome = "rolled_back" if record.state is State.PROBATION else "failed"
            detail = f"the agent restarted {attempts} times at this stage"
            full = _patch_given_up(record, "agent_restarts", detail) if record.state is State.VERIFYING else None
            after, effects = full or (_ended(record, outcome, "agent_restarts", detail), [Collect()])
            return after, [*_serving(record), *effects]
        deployment = replace(record.deployment, attempts=attempts)
        return replace(record, state=state, deployment=deployment), [*_serving(record), effect]

    return rule


def _admit(record: Record, _event: Event) -> Step:
    return replace(record, state=State.PROBATION), [Admit()]


def _candidate_unfit(record: Record, event: CandidateFailed) -> Step:
    """It never served; the current bundle never stopped."""
    return _ended(record, "failed", event.reason, event.detail), [Drop(), Serve(), Collect()]


def _candidate_lost(record: Record, event: CandidateLost) -> Step:
    """Try it again from its start, within the persisted budget; the current bundle serves meanwhile."""
    assert record.deployment is not None
    attempts = record.deployment.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        failed = CandidateFailed(event.reason, f"begun {attempts} times: {event.detail}")
        return (
            _candidate_failed(record, failed) if record.state is State.PROBATION else _candidate_unfit(record, failed)
        )
    deployment = replace(record.deployment, attempts=attempts)
    return replace(record, state=State.STAGED, deployment=deployment), [Drop(), *_serving(record), StartCandidate()]


def _candidate_failed(record: Record, event: CandidateFailed | RollbackOrdered) -> Step:
    """It has served and failed: back to the current bundle, which is the last good one."""
    detail = event.detail if isinstance(event, CandidateFailed) else ""
    ended = _ended(record, "rolled_back", event.reason, detail)
    if isinstance(event, RollbackOrdered) and event.to is not None:
        ended = _back_to(ended, event.to, event.reason)
    if ended.slots.current is None:
        return ended, [Drop(), SeekFactory(), Collect()]
    return replace(ended, state=State.ROLLING_BACK), [Drop(), Serve()]


def _commit(record: Record, _event: Event) -> Step:
    assert record.slots.candidate is not None
    before = record.slots.current
    renewed = before is not None and _same_place(before, record.slots.candidate)
    slots = Slots(current=record.slots.candidate, previous=record.slots.previous if renewed else before)
    done = replace(_ended(record, "succeeded"), state=State.COMMITTED, slots=slots, crashes=0, outages=0, fallback="")
    return done, [Retire(), Collect()]


def _same_place(one: Slot, other: Slot) -> bool:
    """Whether the files of one are those of the other, so that it is no place to go back to."""
    return (one.bundle, one.runtime_sha256) == (other.bundle, other.runtime_sha256)


def _settled(record: Record, _event: Event) -> Step:
    return replace(record, state=State.IDLE), []


def _finish_commit(record: Record, _event: Event) -> Step:
    return replace(record, state=State.IDLE), [Serve(), Collect()]


def _rolled_back(record: Record, _event: Event) -> Step:
    return replace(record, state=State.IDLE, slots=replace(record.slots, superseded=None)), [Collect()]


def _back_to(record: Record, slot: Slot, reason: str, detail: str = "") -> Record:
    """An older bundle becomes current; the deployment that brought the superseded one ends rolled back.

    The superseded bundle stays on the disk until the older one serves, unless it is damaged.
    """
    deployment = record.deployment
    superseded = record.slots.current
    if (
        deployment is not None
        and deployment.outcome
        and superseded is not None
        and deployment.release == superseded.release
    ):
        deployment = replace(deployment, outcome="rolled_back", reason=reason, detail=detail)
    fallback = (f"{reason}: {detail}" if detail else reason) if slot.factory else ""
    slots = Slots(slot, candidate=record.slots.candidate, superseded=None if reason in DAMAGED else superseded)
    return replace(record, slots=slots, deployment=deployment, crashes=0, outages=0, fallback=fallback)


def _restore_superseded(record: Record, superseded: Slot, event: CurrentFailed) -> Record:
    """The older bundle does not serve at all: the superseded one comes back, and the rollback has failed."""
    failed, deployment = record.slots.current, record.deployment
    assert failed is not None
    why = f"{failed.release} does not serve: {event.reason}: {event.detail}"
    if deployment is not None and deployment.outcome == "rolled_back" and deployment.release == superseded.release:
        deployment = replace(deployment, outcome="succeeded", reason="rollback_failed", detail=why)
    slots = Slots(superseded, candidate=record.slots.candidate)
    return replace(record, slots=slots, deployment=deployment, crashes=0, outages=0, fallback=why)


def _current_failed(record: Record, event: CurrentFailed) -> Step:
    """Start it again; after `MAX_CRASHES` in a row, or if it is damaged, the previous bundle takes its place.

    What lies outside the release is not counted: two kills by a person and one crash are one crash. But a release that
    goes on failing while the supply is weak gives way, too: the one before may need less, or the supply not be why.

    Where there is no previous one, the bundle that it superseded, if that is still there: a failed rollback must not
    cost the device a bundle that serves.
    """
    outside, slots = event.reason in EXTERNAL_CAUSES, record.slots
    if outside and (event.reason != POWER_SUPPLY or record.outages + 1 < MAX_BROWNOUTS):
        return replace(record, outages=record.outages + 1), [Serve()]
    crashes = record.crashes + (not outside)
    if not outside and crashes < MAX_CRASHES and event.reason not in DAMAGED:
        return replace(record, crashes=crashes), [Serve()]
    if slots.previous is not None:
        return _rolling_back(_back_to(record, slots.previous, event.reason, event.detail)), [Serve()]
    if slots.superseded is not None:
        return _rolling_back(_restore_superseded(record, slots.superseded, event)), [Serve()]
    outages = record.outages + outside
    return replace(record, crashes=crashes, outages=outages), [Serve(), SeekFactory()]


def _rolling_back(record: Record) -> Record:
    """Idle no longer, until the superseded bundle is removed."""
    return replace(record, state=State.ROLLING_BACK) if record.state is State.IDLE else record


def _factory_found(record: Record, event: FactoryFound) -> Step:
    """It becomes current where nothing is, or where the current bundle still fails."""
    current = record.slots.current
    if event.slot == current or (current is not None and not record.crashes):
        return record, []
    back = _back_to(record, event.slot, event.reason, event.detail)
    back = replace(back, slots=replace(back.slots, superseded=None))  # it is the last resort: nothing comes after it
    return back if current is None else _rolling_back(back), [Serve()]


def _roll_back(record: Record, event: RollbackOrdered) -> Step:
    """The bundle that is named, else the previous one; if there is none, nothing changes."""
    to = event.to or record.slots.previous
    if to is None or to == record.slots.current:
        return record, []
    return replace(_back_to(record, to, event.reason), state=State.ROLLING_BACK), [Serve()]


def _cancel_and_roll_back(record: Record, event: RollbackOrdered) -> Step:
    cancelled = _ended(record, "cancelled", event.reason)
    rolled, effects = _roll_back(cancelled, event)
    return rolled, [Drop(), *(effects or _taking_back(record))]


_WORKING: dict[type[Event], Rule] = {
    Ordered: _replace_order,
    OrderLapsed: _stay,
    Withdrawn: _withdraw,
    CurrentFailed: _current_failed,
    FactoryFound: _factory_found,
    RollbackOrdered: _cancel_and_roll_back,
    Serving: _serves,
    Healthy: _forget_crashes,
}

_RULES: dict[State, dict[type[Event], Rule]] = {
    State.IDLE: {
        Booted: _serve_and_tidy,
        Ordered: _begin,
        OrderLapsed: _lapse,
        CurrentFailed: _current_failed,
        FactoryFound: _factory_found,
        RollbackOrdered: _roll_back,
        Serving: _serves,
        Healthy: _forget_crashes,
    },
    State.FETCHING: {
        **_WORKING,
        Booted: _retry(Fetch(), State.FETCHING, MAX_FETCH_STARTS),
        Fetched: _fetched,
        FetchFailed: _failed,
        Rejected: _rejected,
        Expired: _expire,
    },
    State.VERIFYING: {
        **_WORKING,
        Booted: _retry(Stage(), State.VERIFYING),
        Verified: _verified,
        Rejected: _rejected,
        PatchFailed: _patch_failed,
        PatchRefused: _patch_refused,
        StageCrashed: _stage_crashed,
        StageFailed: _failed,
        Expired: _expire,
    },
    State.STAGED: {
        **_WORKING,
        Booted: _retry(StartCandidate(), State.STAGED),
        CandidateReady: _admit,
        CandidateFailed: _candidate_unfit,
        CandidateLost: _candidate_lost,
    },
    State.PROBATION: {
        **_WORKING,
        Booted: _retry(StartCandidate(), State.STAGED),
        ProbationPassed: _commit,
        CandidateFailed: _candidate_failed,
        CandidateLost: _candidate_lost,
        CurrentFailed: _stay,
        FactoryFound: _stay,
        RollbackOrdered: _candidate_failed,
    },
    State.COMMITTED: {Booted: _finish_commit, Settled: _settled},
    State.ROLLING_BACK: {
        Booted: _serve_again,
        Ordered: _begin,
        OrderLapsed: _lapse,
        Serving: _rolled_back,
        Healthy: _forget_crashes,
        CurrentFailed: _current_failed,
        FactoryFound: _factory_found,
        RollbackOrdered: _stay,
    },
}

TABLE: dict[tuple[State, type[Event]], Rule] = {
    (state, event): rule for state, rules in _RULES.items() for event, rule in rules.items()
}
