"""The update machine over every (state, event) pair: what the table holds does what it says, the rest is refused."""

import itertools

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment, Record, Slots, State
from skerry_agent.machine.table import (
    MAX_ATTEMPTS,
    MAX_BROWNOUTS,
    MAX_CRASHES,
    MAX_FETCH_STARTS,
    TABLE,
    IllegalTransitionError,
    step,
)
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.twin import TransferPolicy
from tests.agent.machine.transitions import EVENTS, EXPECTED, FACTORY, NEW, OLD, OLDER, ORDER, record_in


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)), ids=lambda x: type(x).__name__)
def test_every_pair(state, event):
    before = record_in(state)
    expected = EXPECTED.get(f"{state} {type(event).__name__}")
    if expected is None:
        with pytest.raises(
            IllegalTransitionError, match=f"{type(event).__name__} cannot happen in state {state}"
        ) as no:
            step(before, event)
        assert no.value.code == "illegal_transition"
        return
    after, effects = step(before, event)
    outcome = (after.deployment.outcome if after.deployment else None) or "-"
    assert " ".join([after.state, outcome, *(type(e).__name__ for e in effects)]) == expected


NEXT = Deployment("d2", "m@1.2.0", "cpu", describe(b"other"))
FULL, BY_PATCH = replace(ORDER, transfer="full"), replace(ORDER, transfer="patch")
NO_LEAVE = replace(ORDER, policy=TransferPolicy(full_fallback="never"))
LAST = replace(ORDER, attempts=MAX_ATTEMPTS - 1)
LAST_FETCH = replace(ORDER, attempts=MAX_FETCH_STARTS - 1)
OF_OLD = replace(ORDER, manifest=replace(ORDER.manifest, sha256=OLD.manifest_sha256))
DOWN, RESTARTED = "Drop Collect", f"the agent restarted {MAX_ATTEMPTS} times at this stage"
# How deployments end, and what the host hears of it: from (state, deployment), by an event: (outcome, reason, detail,
# effects).
ENDS = {
    "withdrawn": (State.FETCHING, ORDER, events.Withdrawn(), ("cancelled", "withdrawn", "", DOWN)),
    "late": (State.VERIFYING, ORDER, events.Expired(), ("timed_out", "deadline", "", DOWN)),
    "never begun": (State.IDLE, None, events.OrderLapsed(NEXT, "full"), ("timed_out", "disk", "full", "")),
    "not had": (
        State.FETCHING,
        ORDER,
        events.FetchFailed("over_budget", "9 B"),
        ("failed", "over_budget", "9 B", DOWN),
    ),
    "not made": (State.VERIFYING, ORDER, events.StageFailed("disk", "full"), ("failed", "disk", "full", DOWN)),
    "forbidden": (State.VERIFYING, ORDER, events.Rejected("untrusted", "k"), ("rejected", "untrusted", "k", DOWN)),
    "no leave": (State.VERIFYING, NO_LEAVE, events.PatchFailed("base"), ("failed", "patch_failed", "base", DOWN)),
    "no room": (
        State.VERIFYING,
        NO_LEAVE,
        events.PatchRefused("not_enough_memory", "9 B"),
        ("rejected", "not_enough_memory", "9 B", DOWN),
    ),
    "full failed": (State.VERIFYING, FULL, events.PatchFailed("base"), ("failed", "patch_failed", "base", DOWN)),
    "there already": (State.IDLE, None, events.Ordered(OF_OLD), ("succeeded", "already_current", "", "")),
    "replaced": (State.STAGED, ORDER, events.Ordered(OF_OLD), ("succeeded", "already_current", "", "Drop Serve")),
    "unfit": (State.STAGED, ORDER, events.CandidateFailed("nan", "y"), ("failed", "nan", "y", "Drop Serve Collect")),
    "went": (
        State.PROBATION,
        ORDER,
        events.CandidateFailed("slow", "p95"),
        ("rolled_back", "slow", "p95", "Drop Serve"),
    ),
    "sent": (State.PROBATION, ORDER, events.RollbackOrdered(), ("rolled_back", "ordered", "", "Drop Serve")),
    "given up": (State.STAGED, ORDER, events.RollbackOrdered(), ("cancelled", "ordered", "", "Drop Serve")),
    "came": (State.PROBATION, ORDER, events.ProbationPassed(), ("succeeded", "", "", "Retire Collect")),
    "fetch starts": (
        State.FETCHING,
        LAST_FETCH,
        events.Booted(),
        ("failed", "agent_restarts", RESTARTED.replace(f"{MAX_ATTEMPTS}", f"{MAX_FETCH_STARTS}"), "Serve Collect"),
    ),
    "stage starts": (State.VERIFYING, LAST, events.Booted(), ("failed", "agent_restarts", RESTARTED, "Serve Collect")),
    "trial starts": (State.STAGED, LAST, events.Booted(), ("failed", "agent_restarts", RESTARTED, "Serve Collect")),
    "served": (State.PROBATION, LAST, events.Booted(), ("rolled_back", "agent_restarts", RESTARTED, "Serve Collect")),
}


def names(effects) -> str:
    return " ".join(type(effect).__name__ for effect in effects)


@pytest.mark.parametrize("case", ENDS)
def test_a_deployment_that_ends_says_why(case):
    state, deployment, event, expected = ENDS[case]
    after, effects = step(replace(record_in(state), deployment=deployment), event)
    said = after.deployment
    assert (said.outcome, said.reason, said.detail, names(effects)) == expected
    assert (after.slots.candidate, after.state in {State.IDLE, State.ROLLING_BACK, State.COMMITTED}) == (None, True)


@pytest.mark.parametrize("state", [State.IDLE, State.FETCHING, State.VERIFYING, State.STAGED, State.PROBATION])
def test_an_order_begins_a_deployment_without_a_candidate(state):
    after, _ = step(record_in(state), events.Ordered(NEXT))
    assert (after.state, after.deployment, after.slots) == (State.FETCHING, NEXT, Slots(OLD, OLDER))


@pytest.mark.parametrize("slots", [Slots(), Slots(OLDER)])
def test_what_is_not_current_is_fetched(slots):
    after, effects = step(Record(slots=slots), events.Ordered(OF_OLD))
    assert (after.state, effects) == (State.FETCHING, [events.Fetch()])


def test_what_is_current_but_keeps_failing_is_made_anew():
    after, effects = step(replace(record_in(State.IDLE), crashes=1), events.Ordered(OF_OLD))
    assert (after.state, after.deployment, effects) == (State.FETCHING, OF_OLD, [events.Fetch()])


def test_what_a_fetch_brought_is_kept():
    after, _ = step(record_in(State.FETCHING), events.Fetched("patch", 10, ("mqtt", "http")))
    kept = after.deployment
    assert (kept.transfer, kept.bytes_received, kept.transports) == ("patch", 10, ("mqtt", "http"))


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (events.PatchFailed("damaged: it ends early"), "damaged: it ends early"),
        (events.PatchRefused("not_enough_memory", "9 B"), "not_enough_memory: 9 B"),
    ],
)
@pytest.mark.parametrize("fallback", ["always", "unmetered"])
def test_a_patch_that_failed_has_the_full_file_fetched_once(event, why, fallback):
    """On a metered link `unmetered` forbids it: the plan says so, and the deployment both."""
    before = replace(BY_PATCH, attempts=2, policy=TransferPolicy(full_fallback=fallback))
    again, effects = step(replace(record_in(State.VERIFYING), deployment=before), event)
    expected = replace(before, transfer="full", attempts=0, detail=why)
    assert (again.state, again.deployment, effects) == (State.FETCHING, expected, [events.Fetch()])
    ended, _ = step(again, events.Rejected("full_not_allowed", "metered"))
    assert ended.deployment.detail == f"metered; the patch before it: {why}"
    made, _ = step(step(again, events.Fetched("full", 1))[0], events.Verified(NEW))
    assert made.deployment.detail == ""


def begun_until_over(record, cut_off):
    """The records after each time that making the bundle is cut off, until the machine no longer makes it."""
    while record.state is State.VERIFYING:
        record, _ = step(record, cut_off)
        yield record


@pytest.mark.parametrize(
    ("cut_off", "why"),
    [
        (events.Booted(), f"agent_restarts: {RESTARTED}"),
        (events.StageCrashed("updater_died", "killed by SIGKILL"), "updater_died: begun 3 times: killed by SIGKILL"),
    ],
)
def test_a_patch_whose_making_is_cut_off_three_times_gives_way_to_the_full_file(cut_off, why):
    """Also where the board loses power each time: then the budget in the journal ends the loop."""
    *before, last = begun_until_over(replace(record_in(State.VERIFYING), deployment=BY_PATCH), cut_off)
    assert [record.deployment.attempts for record in before] == [1, 2]
    assert (last.state, last.deployment) == (State.FETCHING, replace(FULL, detail=why))
    fetched, _ = step(last, events.Fetched("full", 1))
    *again, over = begun_until_over(fetched, cut_off)
    assert len(again) == 2
    assert (over.state, over.deployment.outcome) == (State.IDLE, "failed")
    assert over.deployment.detail.endswith(f"; the patch before it: {why}")


@pytest.mark.parametrize("deployment", [replace(NO_LEAVE, transfer="patch"), FULL])
def test_without_leave_or_a_full_file_the_crashes_are_the_reason(deployment):
    crash = events.StageCrashed("updater_died", "killed by SIGSEGV")
    *_, last = begun_until_over(replace(record_in(State.VERIFYING), deployment=deployment), crash)
    said = last.deployment
    assert (said.outcome, said.reason) == ("failed", "updater_died")
    assert said.detail == "begun 3 times: killed by SIGSEGV"


def test_crashes_and_restarts_share_one_budget():
    record = replace(record_in(State.VERIFYING), deployment=BY_PATCH)
    for event in (events.StageCrashed("updater_died"), events.Booted()):
        record, _ = step(record, event)
    assert step(record, events.StageCrashed("updater_died"))[0].state is State.FETCHING


def test_what_was_verified_is_the_candidate():
    assert step(record_in(State.VERIFYING), events.Verified(NEW))[0].slots == Slots(OLD, OLDER, NEW)


def test_the_expectations_cover_the_table():
    assert {f"{state} {event.__name__}" for state, event in TABLE} == set(EXPECTED)
    assert {type(e) for e in EVENTS} == set(events.Event.__subclasses__())


def test_commit_moves_the_slots():
    after, _ = step(record_in(State.PROBATION), events.ProbationPassed())
    assert after.slots == Slots(current=NEW, previous=OLD)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Slots(candidate=NEW), Slots(NEW)),
        (Slots(replace(NEW, target="edgetpu"), OLD, NEW), Slots(NEW, OLD)),  # the same bundle anew: no way back to it
    ],
)
def test_a_commit_keeps_a_way_back_to_another_bundle(before, after):
    committed, _ = step(Record(State.PROBATION, before, ORDER, crashes=2), events.ProbationPassed())
    assert (committed.slots, committed.crashes) == (after, 0)


def test_failed_candidate_leaves_the_slots_as_they_were():
    after, _ = step(record_in(State.PROBATION), events.CandidateFailed("crashed", "killed by SIGSEGV"))
    assert after.slots == Slots(OLD, OLDER)
    assert (after.deployment.reason, after.deployment.detail) == ("crashed", "killed by SIGSEGV")


def test_failed_first_candidate_leaves_an_empty_device():
    before = replace(record_in(State.PROBATION), slots=Slots(candidate=NEW))
    after, effects = step(before, events.CandidateFailed("crashed"))
    assert (after.state, after.slots) == (State.IDLE, Slots())
    assert effects == [events.Drop(), events.SeekFactory(), events.Collect()]


@pytest.mark.parametrize("state", [State.FETCHING, State.VERIFYING, State.STAGED, State.PROBATION])
def test_restarts_at_one_stage_end_at_the_attempt_budget(state):
    record = record_in(state)
    for _ in range(MAX_FETCH_STARTS if state is State.FETCHING else MAX_ATTEMPTS):
        assert record.deployment.outcome is None
        record, effects = step(record, events.Booted())
    assert record.state is State.IDLE
    assert record.deployment.outcome in {"failed", "rolled_back"}
    assert record.slots.current == OLD
    assert events.Serve() in effects


@pytest.mark.parametrize(
    ("state", "event"), [(State.FETCHING, events.Fetched("full", 1)), (State.VERIFYING, events.Verified(NEW))]
)
def test_each_stage_has_the_whole_budget(state, event):
    before, _ = step(record_in(state), events.Booted())
    assert before.deployment.attempts == 1
    assert step(before, event)[0].deployment.attempts == 0


def test_crashes_of_the_current_bundle_bring_the_previous_one_back():
    record = record_in(State.IDLE)
    for _ in range(MAX_CRASHES):
        assert record.slots.current == OLD
        record, _ = step(record, events.CurrentFailed("crashed"))
    assert record.state is State.ROLLING_BACK
    assert record.slots == Slots(current=OLDER, superseded=OLD)


def test_kills_from_outside_are_not_added_to_the_crashes_of_a_release():
    record = record_in(State.IDLE)
    for reason in ("killed", "not_started", "killed", "crashed"):
        record, effects = step(record, events.CurrentFailed(reason))
        assert (record.slots.current, effects) == (OLD, [events.Serve()])
    assert (record.crashes, record.outages) == (1, 3)
    assert step(record, events.Healthy())[0].failures == 0


def test_a_release_that_goes_on_failing_under_a_weak_supply_gives_way_to_the_one_before():
    """Before, one that crashes by itself on a board whose supply is always weak was started again for ever."""
    record = record_in(State.IDLE)
    for _ in range(MAX_BROWNOUTS):
        assert record.slots.current == OLD
        record, _ = step(record, events.CurrentFailed("power_supply"))
    assert (record.slots, record.failures) == (Slots(current=OLDER, superseded=OLD), 0)
    for _ in range(MAX_BROWNOUTS):
        record, _ = step(record, events.CurrentFailed("power_supply"))
    assert record.slots == Slots(OLD)
    for _ in range(2 * MAX_BROWNOUTS):
        record, _ = step(record, events.CurrentFailed("power_supply"))
    assert (record.slots, record.crashes) == (Slots(OLD), 0)


def test_a_release_that_is_not_served_is_made_anew_when_it_is_ordered_again():
    record = step(record_in(State.IDLE), events.CurrentFailed("killed"))[0]
    assert step(record, events.Ordered(OF_OLD))[0].state is State.FETCHING


def test_a_damaged_bundle_gives_way_at_once_and_is_not_kept():
    record, effects = step(record_in(State.IDLE), events.CurrentFailed("damaged"))
    assert (record.slots, effects) == (Slots(OLDER), [events.Serve()])


def exhausted(record, reason):
    """After as many failures as a bundle is allowed, or one that starting again cannot mend."""
    for _ in range(MAX_CRASHES if reason == "crashed" else 1):
        record, effects = step(record, events.CurrentFailed(reason, "why"))
    return record, effects


@pytest.mark.parametrize("reason", ["damaged", "bundle_damaged", "crashed"])
@pytest.mark.parametrize("cause", ["ordered", "crashes"])
def test_a_previous_bundle_that_does_not_serve_is_replaced_by_the_superseded_one(reason, cause):
    record = replace(record_in(State.IDLE), deployment=replace(ORDER, release=OLD.release, outcome="succeeded"))
    record, _ = step(record, events.RollbackOrdered()) if cause == "ordered" else exhausted(record, "crashed")
    assert (record.slots.current, record.deployment.outcome) == (OLDER, "rolled_back")
    record, effects = exhausted(record, reason)
    assert (record.state, record.slots, effects) == (State.ROLLING_BACK, Slots(OLD), [events.Serve()])
    assert (record.deployment.outcome, record.deployment.reason) == ("succeeded", "rollback_failed")
    assert record.fallback == f"m@0.9.0 does not serve: {reason}: why"
    record, effects = step(record, events.Serving())
    assert (record.state, record.slots, effects) == (State.IDLE, Slots(OLD), [events.Collect()])
    assert events.SeekFactory() in exhausted(record, "crashed")[1]


ROLLED_BACK = replace(ORDER, release=OLD.release, outcome="rolled_back", reason="ordered")


@pytest.mark.parametrize(
    ("deployment", "says"),
    [
        (None, None),
        (ROLLED_BACK, ("succeeded", "rollback_failed", "m@0.9.0 does not serve: damaged: why")),
        (replace(ROLLED_BACK, outcome=None, reason=""), (None, "", "")),
        (replace(ROLLED_BACK, outcome="failed"), ("failed", "ordered", "")),
        (replace(ROLLED_BACK, release=NEW.release), ("rolled_back", "ordered", "")),
    ],
)
def test_only_the_deployment_that_was_rolled_back_is_said_to_have_come_back(deployment, says):
    before = Record(State.STAGED, Slots(OLDER, None, NEW, superseded=OLD), deployment, crashes=1)
    after, _ = step(before, events.CurrentFailed("damaged", "why"))
    assert (after.slots, after.crashes) == (Slots(OLD, candidate=NEW), 0)
    said = after.deployment
    assert (said and (said.outcome, said.reason, said.detail)) == says


@pytest.mark.parametrize("state", [State.ROLLING_BACK, State.FETCHING, State.STAGED])
def test_the_superseded_bundle_is_kept_until_the_older_one_serves(state):
    before = replace(record_in(state), slots=Slots(OLDER, superseded=OLD))
    assert step(before, events.Booted())[0].slots == before.slots
    assert step(before, events.Serving())[0].slots == Slots(OLDER)


def test_without_a_previous_bundle_the_current_one_is_tried_for_ever():
    record = replace(record_in(State.IDLE), slots=Slots(current=OLD))
    for _ in range(3 * MAX_CRASHES):
        record, effects = step(record, events.CurrentFailed("crashed"))
        assert effects[0] == events.Serve()
    assert record.slots.current == OLD


@pytest.mark.parametrize("state", [State.IDLE, State.FETCHING, State.ROLLING_BACK])
def test_what_is_not_the_bundles_fault_costs_it_no_place(state):
    record = before = record_in(state)
    for _ in range(3 * MAX_CRASHES):
        record, effects = step(record, events.CurrentFailed("source_failed", "no camera"))
        assert (record.slots, record.state, effects) == (before.slots, before.state, [events.Serve()])
    assert step(record, events.Healthy())[0].crashes == 0


def test_a_healthy_bundle_is_forgiven_its_crashes():
    record, _ = step(record_in(State.IDLE), events.CurrentFailed("crashed"))
    record, _ = step(record, events.Healthy())
    assert record.crashes == 0


def test_rollback_of_a_committed_release_marks_its_deployment():
    committed = Record(State.IDLE, Slots(NEW, OLD), replace(ORDER, outcome="succeeded"))
    after, _ = step(committed, events.RollbackOrdered("ordered"))
    assert after.slots == Slots(current=OLD, superseded=NEW)
    assert (after.deployment.outcome, after.deployment.reason) == ("rolled_back", "ordered")
    assert (after.deployment.detail, after.fallback) == ("", "")  # no stand-in: it was there before


def test_a_bundle_that_gives_way_says_why():
    committed = Record(State.IDLE, Slots(NEW, OLD), replace(ORDER, outcome="succeeded"))
    after, _ = step(committed, events.CurrentFailed("damaged", "m.tflite"))
    said = after.deployment
    assert (said.outcome, said.reason, said.detail) == ("rolled_back", "damaged", "m.tflite")


def test_a_rollback_to_what_serves_changes_nothing():
    assert step(record_in(State.IDLE), events.RollbackOrdered(to=OLD)) == (record_in(State.IDLE), [])


def test_rollback_without_previous_changes_nothing():
    before = Record(State.IDLE, Slots(current=OLD))
    assert step(before, events.RollbackOrdered()) == (before, [])


def test_failed_patch_needs_leave_for_the_full_file():
    after, _ = step(replace(record_in(State.VERIFYING), deployment=NO_LEAVE), events.PatchFailed("damaged"))
    assert (after.deployment.outcome, after.deployment.reason) == ("failed", "patch_failed")


def test_ordering_what_is_current_ends_at_once():
    order = replace(ORDER, manifest=replace(ORDER.manifest, sha256=OLD.manifest_sha256))
    after, effects = step(record_in(State.IDLE), events.Ordered(order))
    assert (after.state, after.deployment.outcome, effects) == (State.IDLE, "succeeded", [])


# -- the factory release, behind current and previous ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "effects"),
    [
        (State.IDLE, "SeekFactory Collect"),
        (State.FETCHING, "SeekFactory Fetch"),
        (State.VERIFYING, "SeekFactory Stage"),
        (State.STAGED, "SeekFactory StartCandidate"),
        (State.PROBATION, "SeekFactory StartCandidate"),
    ],
)
def test_a_start_with_nothing_to_serve_seeks_the_factory_release(state, effects):
    before = replace(record_in(state), slots=Slots(candidate=record_in(state).slots.candidate))
    assert " ".join(type(e).__name__ for e in step(before, events.Booted())[1]) == effects


@pytest.mark.parametrize("state", [State.IDLE, State.FETCHING, State.VERIFYING, State.STAGED, State.ROLLING_BACK])
def test_it_takes_the_place_of_what_fails_and_says_why(state):
    before = replace(record_in(state), slots=replace(record_in(state).slots, previous=None))
    failing, effects = step(before, events.CurrentFailed("bundle_damaged"))
    assert [type(e) for e in effects] == [events.Serve, events.SeekFactory]
    found = events.FactoryFound(FACTORY, "bundle_damaged", "bundle.json")
    after, effects = step(failing, found)
    assert after.slots == Slots(current=FACTORY, candidate=before.slots.candidate)
    assert (after.fallback, after.crashes, effects) == ("bundle_damaged: bundle.json", 0, [events.Serve()])
    assert after.state is (State.ROLLING_BACK if state is State.IDLE else state)
    assert step(after, found) == (after, [])


def test_it_is_not_sought_before_the_previous_one_has_failed_too():
    after, effects = step(record_in(State.IDLE), events.CurrentFailed("damaged"))
    assert (after.slots.current, effects) == (OLDER, [events.Serve()])
    assert events.SeekFactory() in step(after, events.CurrentFailed("damaged"))[1]


def test_what_has_recovered_meanwhile_stays():
    failing, _ = step(replace(record_in(State.IDLE), slots=Slots(OLD)), events.CurrentFailed("damaged"))
    healthy, _ = step(failing, events.Healthy())
    assert step(healthy, events.FactoryFound(FACTORY, "damaged")) == (healthy, [])


def test_it_takes_the_place_of_nothing_at_all():
    before = Record(State.IDLE, Slots(), replace(ORDER, outcome="succeeded"))
    after, effects = step(before, events.FactoryFound(FACTORY, "missing"))
    assert after == replace(before, slots=Slots(FACTORY), fallback="missing")
    assert effects == [events.Serve()]


def test_it_takes_its_own_place_never_and_nothing_comes_after_it():
    failing = Record(State.IDLE, Slots(FACTORY), crashes=2)
    assert step(failing, events.FactoryFound(FACTORY, "crashed")) == (failing, [])
    after, _ = step(Record(State.IDLE, Slots(OLD), crashes=3), events.FactoryFound(FACTORY, "crashed"))
    assert after.slots == Slots(FACTORY)


def test_during_a_trial_it_is_not_needed():
    failing = replace(record_in(State.PROBATION), crashes=2)
    assert step(failing, events.FactoryFound(FACTORY, "crashed")) == (failing, [])


def test_the_deployment_under_way_is_not_the_superseded_one():
    """The release that is damaged is ordered again: that it makes room for the factory release is no end of it."""
    again = replace(ORDER, release=OLD.release)
    before = Record(State.FETCHING, Slots(OLD), again, crashes=1)
    after, _ = step(before, events.FactoryFound(FACTORY, "damaged"))
    assert after.deployment == again


def test_the_factory_release_ordered_becomes_a_bundle_of_its_own():
    order = Deployment("d3", FACTORY.release, "cpu", replace(ORDER.manifest, sha256=FACTORY.manifest_sha256))
    after, effects = step(Record(slots=Slots(FACTORY)), events.Ordered(order))
    assert (after.state, effects) == (State.FETCHING, [events.Fetch()])


def test_a_commit_ends_the_stand_in():
    before = Record(State.PROBATION, Slots(FACTORY, None, NEW), ORDER, fallback="damaged")
    after, _ = step(before, events.ProbationPassed())
    assert (after.slots, after.fallback) == (Slots(NEW, FACTORY), "")


@pytest.mark.parametrize("state", [State.IDLE, State.FETCHING, State.PROBATION])
def test_a_rollback_may_name_the_factory_release(state):
    after, effects = step(record_in(state), events.RollbackOrdered(to=FACTORY))
    assert (after.state, after.slots) == (State.ROLLING_BACK, Slots(FACTORY, superseded=OLD))
    assert effects[-1] == events.Serve()


def test_a_candidate_that_fails_with_nothing_behind_it_seeks_the_factory_release():
    before = Record(State.PROBATION, Slots(candidate=NEW), ORDER)
    after, effects = step(before, events.CandidateFailed("crashed"))
    assert after.state is State.IDLE
    assert events.SeekFactory() in effects


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", [State.STAGED, State.PROBATION])
def test_whatever_ends_a_trial_lets_the_release_before_serve_again(state, event):
    """It may have stopped for the candidate; only a commit takes its place."""
    before = record_in(state)
    if (state, type(event)) not in TABLE:
        return
    after, effects = step(before, event)
    on_trial = after.state in {State.STAGED, State.PROBATION} and events.Drop() not in effects
    if before.slots.current is not None and not on_trial and after.state is not State.COMMITTED:
        assert events.Serve() in effects
