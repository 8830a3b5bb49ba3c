"""The update machine over every (state, event) pair: what the table holds does what it says, the rest is refused."""

import itertools

import pytest
from msgspec.structs import replace

from skerry_agent import events
from skerry_agent.machine import MAX_ATTEMPTS, MAX_CRASHES, TABLE, IllegalTransitionError, step
from skerry_agent.records import Deployment, Record, Slot, Slots, State
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.twin import TransferPolicy

OLD = Slot("old", "m@1.0.0", "cpu", "a" * 64, "1" * 64)
OLDER = Slot("older", "m@0.9.0", "cpu", "9" * 64, "2" * 64)
NEW = Slot("new", "m@1.1.0", "cpu", "b" * 64, "3" * 64)
ORDER = Deployment("d1", "m@1.1.0", "cpu", describe(b"manifest"))

EVENTS = [
    events.Booted(),
    events.Ordered(Deployment("d2", "m@1.2.0", "cpu", describe(b"other"))),
    events.Withdrawn(),
    events.Fetched("patch", 10),
    events.FetchFailed("disk_full"),
    events.Verified(NEW),
    events.Rejected("untrusted"),
    events.PatchFailed("wrong_base"),
    events.StageFailed("disk"),
    events.CandidateReady(),
    events.CandidateFailed("latency_over_budget", "p95"),
    events.ProbationPassed(),
    events.Settled(),
    events.CurrentFailed("crashed"),
    events.Serving(),
    events.Healthy(),
    events.RollbackOrdered(),
    events.Expired(),
]

# What each pair leads to, from a device that serves OLD with OLDER behind it: (state, outcome of d1 or d2, effects).
# A pair that is not here must be refused.
EXPECTED = {
    "idle Booted": "idle - Serve Collect",
    "idle Ordered": "fetching - Fetch",
    "idle CurrentFailed": "idle - Serve",
    "idle Serving": "idle -",
    "idle Healthy": "idle -",
    "idle RollbackOrdered": "rolling_back - Serve",
    "fetching Booted": "fetching - Serve Fetch",
    "fetching Ordered": "fetching - Drop Fetch",
    "fetching Withdrawn": "idle cancelled Drop Collect",
    "fetching Fetched": "verifying - Stage",
    "fetching FetchFailed": "idle failed Drop Collect",
    "fetching Rejected": "idle rejected Drop Collect",
    "fetching CurrentFailed": "fetching - Serve",
    "fetching Serving": "fetching -",
    "fetching Healthy": "fetching -",
    "fetching RollbackOrdered": "rolling_back cancelled Drop Serve",
    "fetching Expired": "idle timed_out Drop Collect",
    "verifying Booted": "verifying - Serve Stage",
    "verifying Ordered": "fetching - Drop Fetch",
    "verifying Withdrawn": "idle cancelled Drop Collect",
    "verifying Verified": "staged - StartCandidate",
    "verifying Rejected": "idle rejected Drop Collect",
    "verifying PatchFailed": "fetching - Fetch",
    "verifying StageFailed": "idle failed Drop Collect",
    "verifying CurrentFailed": "verifying - Serve",
    "verifying Serving": "verifying -",
    "verifying Healthy": "verifying -",
    "verifying RollbackOrdered": "rolling_back cancelled Drop Serve",
    "verifying Expired": "idle timed_out Drop Collect",
    "staged Booted": "staged - Serve StartCandidate",
    "staged Ordered": "fetching - Drop Fetch",
    "staged Withdrawn": "idle cancelled Drop Collect",
    "staged CandidateReady": "probation - Admit",
    "staged CandidateFailed": "idle failed Drop Serve Collect",
    "staged CurrentFailed": "staged - Serve",
    "staged Serving": "staged -",
    "staged Healthy": "staged -",
    "staged RollbackOrdered": "rolling_back cancelled Drop Serve",
    "probation Booted": "staged - Serve StartCandidate",
    "probation Ordered": "fetching - Drop Serve Fetch",
    "probation Withdrawn": "idle cancelled Drop Serve Collect",
    "probation ProbationPassed": "committed succeeded Retire Collect",
    "probation CandidateFailed": "rolling_back rolled_back Drop Serve",
    "probation CurrentFailed": "probation -",
    "probation Serving": "probation -",
    "probation Healthy": "probation -",
    "probation RollbackOrdered": "rolling_back rolled_back Drop Serve",
    "committed Booted": "idle - Serve Collect",
    "committed Settled": "idle -",
    "rolling_back Booted": "rolling_back - Serve",
    "rolling_back Ordered": "fetching - Fetch",
    "rolling_back Serving": "idle - Collect",
    "rolling_back CurrentFailed": "rolling_back - Serve",
    "rolling_back RollbackOrdered": "rolling_back -",
}


def record_in(state: State) -> Record:
    candidate = NEW if state in {State.STAGED, State.PROBATION} else None
    return Record(state, Slots(OLD, OLDER, candidate), None if state is State.IDLE else ORDER)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)), ids=lambda x: type(x).__name__)
def test_every_pair(state, event):
    before = record_in(state)
    expected = EXPECTED.get(f"{state} {type(event).__name__}")
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"{type(event).__name__} cannot happen in state {state}"):
            step(before, event)
        return
    after, effects = step(before, event)
    outcome = (after.deployment.outcome if after.deployment else None) or "-"
    assert " ".join([after.state, outcome, *(type(e).__name__ for e in effects)]) == expected


def test_the_expectations_cover_the_table():
    assert {f"{state} {event.__name__}" for state, event in TABLE} == set(EXPECTED)
    assert {type(e) for e in EVENTS} == set(events.Event.__subclasses__())


def test_commit_moves_the_slots():
    after, _ = step(record_in(State.PROBATION), events.ProbationPassed())
    assert after.slots == Slots(current=NEW, previous=OLD)


def test_failed_candidate_leaves_the_slots_as_they_were():
    after, _ = step(record_in(State.PROBATION), events.CandidateFailed("crashed", "killed by SIGSEGV"))
    assert after.slots == Slots(OLD, OLDER)
    assert (after.deployment.reason, after.deployment.detail) == ("crashed", "killed by SIGSEGV")


def test_failed_first_candidate_leaves_an_empty_device():
    before = replace(record_in(State.PROBATION), slots=Slots(candidate=NEW))
    after, effects = step(before, events.CandidateFailed("crashed"))
    assert (after.state, after.slots) == (State.IDLE, Slots())
    assert events.Serve() not in effects


@pytest.mark.parametrize("state", [State.VERIFYING, State.STAGED, State.PROBATION])
def test_restarts_at_one_stage_end_at_the_attempt_budget(state):
    record = record_in(state)
    for _ in range(MAX_ATTEMPTS):
        assert record.deployment.outcome is None
        record, effects = step(record, events.Booted())
    assert record.state is State.IDLE
    assert record.deployment.outcome in {"failed", "rolled_back"}
    assert record.slots.current == OLD
    assert events.Serve() in effects


def test_crashes_of_the_current_bundle_bring_the_previous_one_back():
    record = record_in(State.IDLE)
    for _ in range(MAX_CRASHES):
        assert record.slots.current == OLD
        record, _ = step(record, events.CurrentFailed("crashed"))
    assert record.state is State.ROLLING_BACK
    assert record.slots == Slots(current=OLDER)


def test_without_a_previous_bundle_the_current_one_is_tried_for_ever():
    record = replace(record_in(State.IDLE), slots=Slots(current=OLD))
    for _ in range(3 * MAX_CRASHES):
        record, effects = step(record, events.CurrentFailed("crashed"))
        assert effects == [events.Serve()]
    assert record.slots.current == OLD


def test_a_healthy_bundle_is_forgiven_its_crashes():
    record, _ = step(record_in(State.IDLE), events.CurrentFailed("crashed"))
    record, _ = step(record, events.Healthy())
    assert record.crashes == 0


def test_rollback_of_a_committed_release_marks_its_deployment():
    committed = Record(State.IDLE, Slots(NEW, OLD), replace(ORDER, outcome="succeeded"))
    after, _ = step(committed, events.RollbackOrdered("ordered"))
    assert after.slots == Slots(current=OLD)
    assert (after.deployment.outcome, after.deployment.reason) == ("rolled_back", "ordered")


def test_rollback_without_previous_changes_nothing():
    before = Record(State.IDLE, Slots(current=OLD))
    assert step(before, events.RollbackOrdered()) == (before, [])


@pytest.mark.parametrize("fallback", ["unmetered", "never"])
def test_failed_patch_needs_leave_for_the_full_file(fallback):
    policy = TransferPolicy(full_fallback=fallback)
    before = replace(record_in(State.VERIFYING), deployment=replace(ORDER, policy=policy))
    after, _ = step(before, events.PatchFailed("damaged"))
    assert (after.deployment.outcome, after.deployment.reason) == ("failed", "patch_failed")


def test_ordering_what_is_current_ends_at_once():
    order = replace(ORDER, manifest=replace(ORDER.manifest, sha256=OLD.manifest_sha256))
    after, effects = step(record_in(State.IDLE), events.Ordered(order))
    assert (after.state, after.deployment.outcome, effects) == (State.IDLE, "succeeded", [])
