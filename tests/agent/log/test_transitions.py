"""Every step of the update machine has its line: a state or an event that is new and has none fails here."""

import itertools

import pytest

from skerry_agent.log.transitions import OF_CURRENT, SENTENCES, Transition, line_of
from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.machine.table import TABLE, step
from tests.agent.machine.transitions import EVENTS, record_in

OF_EVENTS = {type(event): event for event in EVENTS}
PAIRS = [(state, OF_EVENTS[event]) for state, event in TABLE]
REASONS = ("reason", "detail")


def test_every_event_has_a_sentence():
    every = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert set(SENTENCES) == every - {events.Event}
    assert len(set(SENTENCES.values())) == len(SENTENCES)


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda x: getattr(x, "value", type(x).__name__))
def test_every_step_that_changes_anything_has_a_line_with_its_reason_and_ids(state, event):
    before = record_in(state)
    after, _ = step(before, event)
    line = line_of(Transition(before, event, after))
    assert (line is None) == (before == after)
    if line is None:
        return
    level, sentence, fields = line
    assert sentence == SENTENCES[type(event)]
    assert fields["state"] == (f"{before.state}->{after.state}" if before.state != after.state else after.state)
    deployment = after.deployment or before.deployment
    ended = deployment is not None and deployment != before.deployment
    if isinstance(event, OF_CURRENT) and not ended and before.slots.current is not None:
        assert fields["release"] == before.slots.current.release
    elif deployment is not None:
        assert (fields["release"], fields["deployment"]) == (deployment.release, deployment.id)
        if deployment.outcome and deployment != before.deployment:
            assert fields["outcome"] == deployment.outcome
            assert fields["reason"] == (deployment.reason or getattr(event, "reason", None) or fields["reason"])
    told = {name: getattr(event, name) for name in REASONS if getattr(event, name, "")}
    assert all(value in str(fields[name]) for name, value in told.items()), (told, fields)
    assert level in {"info", "warning"}


def test_every_state_is_entered_and_left_in_some_line():
    moves = set()
    for state, event in PAIRS:
        before = record_in(state)
        line = line_of(Transition(before, event, step(before, event)[0]))
        moves |= {line[2]["state"]} if line else set()
    entered = {move.split("->")[1] for move in moves if "->" in move}
    left = {move.split("->")[0] for move in moves if "->" in move}
    assert entered == left == {state.value for state in State}


def test_what_happens_to_the_release_that_serves_is_not_told_of_the_one_that_was_ordered_last():
    """Before: "the current release failed release=m@1.1.0 ... current=m@1.0.0", of a 1.1.0 long rolled back."""
    before = record_in(State.FETCHING)
    event = events.CurrentFailed("killed", "killed by SIGKILL")
    _, _, fields = line_of(Transition(before, event, step(before, event)[0]))
    assert before.deployment.release != before.slots.current.release
    assert (fields["release"], "deployment" in fields) == (before.slots.current.release, False)


def test_what_goes_wrong_is_a_warning():
    levels = {}
    for state, event in itertools.product(State, EVENTS):
        if (state, type(event)) in TABLE:
            before = record_in(state)
            line = line_of(Transition(before, event, step(before, event)[0]))
            levels.setdefault(type(event).__name__, set()).add(line[0] if line else None)
    warned = {name for name, found in levels.items() if "warning" in found}
    assert warned >= {"FetchFailed", "Rejected", "StageFailed", "CandidateFailed", "CurrentFailed", "Expired"}
    assert not warned & {"Ordered", "Fetched", "Verified", "ProbationPassed", "Withdrawn", "RollbackOrdered"}


def test_the_same_step_of_another_attempt_is_another_line():
    """A line that repeats is only counted: the second time that a candidate is ready would not be seen."""
    lines, record, lost = [], record_in(State.STAGED), OF_EVENTS[events.CandidateLost]
    for event in (OF_EVENTS[events.CandidateReady], lost, OF_EVENTS[events.CandidateReady]):
        after, _ = step(record, event)
        lines.append(line_of(Transition(record, event, after)))
        record = after
    assert lines[0][1] == lines[2][1]
    assert lines[0] != lines[2]
