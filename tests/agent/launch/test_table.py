"""The table of a device's agents, asserted as text for every state and event; and its promises over any sequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.launch import table
from skerry_agent.launch.table import (
    BASE,
    MOST_ATTEMPTS,
    MOST_STARTS,
    Agent,
    Died,
    Ended,
    Healthy,
    IllegalError,
    Late,
    Ordered,
    Record,
    Refused,
    Skipped,
    Started,
    Trial,
    Waits,
    Withdrawn,
    after,
)

OLD, NEW, NEWER = Agent("old", "agent@0.8.0", "0.8.0"), Agent("new", "agent@0.9.0", "0.9.0"), Agent("newer", "n@1", "1")
ALL = frozenset({"old", "new", "newer"})
TRIAL = Trial(NEW, "d1", 300.0, linked=True, serving=("fashion",))
SUCCEEDED = Ended("d1", NEW.release, "succeeded")


def shown(record: Record) -> str:
    """A record in one line."""
    words = [f"current {record.current.folder or 'base'}"]
    words += [f"before {record.previous.folder or 'base'}"] if record.previous is not None else []
    trial, ended = record.trial, record.ended
    words += [f"tries {trial.agent.folder} {trial.attempts}{_said(trial)}"] if trial is not None else []
    words += [f"starts {record.starts}"] if record.starts else []
    words += [f"{ended.outcome} {ended.reason} {ended.detail}".strip()] if ended is not None else []
    return ", ".join(words)


def _said(trial: Trial) -> str:
    return "".join(f" ({word})" for word in (trial.waiting, trial.last) if word)


ON_BASE = Record(current=BASE)
ON_NEW = Record(current=NEW, previous=OLD, ended=SUCCEEDED)
TRYING = Record(current=OLD, previous=BASE, trial=TRIAL)
TRIED = TRYING._replace(trial=TRIAL._replace(attempts=MOST_ATTEMPTS, last="exit status 1"))

ROWS = [
    # what there is, what happens, what there is then, what runs
    (ON_BASE, Ordered(TRIAL), "current base, tries new 0", None),
    (ON_NEW, Ordered(TRIAL._replace(attempts=9)), "current new, before old, tries new 0, succeeded", None),
    (ON_BASE, Refused(Ended("d1", "a@1", "rejected", "x", "y")), "current base, rejected x y", None),
    (ON_BASE, Started(ALL), "current base", "base"),
    (ON_NEW, Started(ALL), "current new, before old, starts 1, succeeded", "new"),
    (ON_NEW._replace(starts=4), Started(ALL), "current new, before old, starts 5, succeeded", "new"),
    (
        ON_NEW._replace(starts=MOST_STARTS),
        Started(ALL),
        "current old, starts 1, rolled_back agent_keeps_dying it did not stay up for 5 starts",
        "old",
    ),
    (
        ON_NEW,
        Started(frozenset({"old"})),
        "current old, starts 1, rolled_back agent_gone its folder new is gone or damaged",
        "old",
    ),
    (
        ON_NEW,
        Started(frozenset()),
        "current base, rolled_back agent_gone its folder new is gone or damaged",
        "base",
    ),
    (ON_NEW._replace(starts=3), Healthy("new"), "current new, before old, succeeded", None),
    (ON_NEW._replace(starts=3), Healthy(""), "current new, before old, starts 3, succeeded", None),
    (ON_NEW, Late(), "current new, before old, succeeded", None),
    (ON_NEW, Died("exit status 1"), "current new, before old, succeeded", None),
    (ON_NEW, Skipped("x"), "current new, before old, succeeded", None),
    (ON_NEW, Withdrawn(), "current new, before old, succeeded", None),
    (ON_NEW, Waits("no connection"), "current new, before old, succeeded", None),
    (TRYING, Started(ALL), "current old, before base, tries new 1", "new"),
    (
        TRYING,
        Started(frozenset({"old"})),
        "current old, before base, starts 1, rolled_back agent_gone its folder new is gone or damaged",
        "old",
    ),
    (
        TRIED,
        Started(ALL),
        "current old, before base, starts 1, rolled_back agent_died not healthy after 3 starts: exit status 1",
        "old",
    ),
    (TRYING, Healthy("new"), "current new, before old, succeeded", None),
    (TRYING, Healthy("old"), "current old, before base, tries new 0", None),
    (
        TRYING,
        Late(),
        "current old, before base, rolled_back agent_not_healthy not healthy within 300 s: it said nothing",
        None,
    ),
    (TRYING, Died("killed by SIGSEGV"), "current old, before base, tries new 0 (killed by SIGSEGV)", None),
    (TRYING, Skipped("by hand"), "current old, before base, rolled_back agent_not_started by hand", None),
    (TRYING, Withdrawn(), "current old, before base, cancelled withdrawn the host wants it no more", None),
    (TRYING, Waits("no connection"), "current old, before base, tries new 0 (no connection)", None),
]


@pytest.mark.parametrize(("record", "event", "then", "runs"), ROWS, ids=range(len(ROWS)))
def test_every_pair_says_what_there_is_then_and_what_runs(record, event, then, runs):
    step = after(record, event)
    assert (shown(step.record), step.run and (step.run.folder or "base")) == (then, runs)
    changed = step.record._replace(sequence=record.sequence) != record
    assert step.record.sequence == record.sequence + changed


def test_every_pair_of_state_and_event_has_a_row_or_is_illegal():
    events = [
        Ordered(TRIAL),
        Refused(SUCCEEDED),
        Started(ALL),
        Healthy(),
        Late(),
        Died(),
        Waits("x"),
        Skipped("x"),
        Withdrawn(),
    ]
    shown_pairs = {("trial" if row[0].trial else "rest", type(row[1])) for row in ROWS}
    for record, state in ((ON_BASE, "rest"), (TRYING, "trial")):
        for event in events:
            if (state, type(event)) in table.TABLE:
                assert (state, type(event)) in shown_pairs
            else:
                with pytest.raises(IllegalError):
                    after(record, event)


def test_an_upgrade_while_another_is_on_trial_is_illegal():
    with pytest.raises(IllegalError, match="Ordered while trial"):
        after(TRYING, Ordered(TRIAL))


EVENTS = st.one_of(
    st.just(Ordered(TRIAL)),
    st.just(Ordered(Trial(NEWER, "d2", 1.0))),
    st.sets(st.sampled_from(sorted(ALL))).map(lambda names: Started(frozenset(names))),
    st.sampled_from([Healthy("new"), Healthy("newer"), Healthy(""), Late(), Died("x"), Waits("y")]),
)


@given(st.lists(EVENTS, max_size=40))
def test_a_start_always_runs_an_agent_that_is_there_and_no_agent_runs_for_ever_unproven(events):
    record, unproven = Record(), 0
    for event in events:
        try:
            step = after(record, event)
        except IllegalError:
            continue
        if isinstance(event, Started):
            assert step.run is not None
            assert not step.run.folder or step.run.folder in event.present
            proven = step.run.folder == ""
            unproven = 0 if proven else unproven + 1
            assert unproven <= MOST_ATTEMPTS + 3 * MOST_STARTS
        elif isinstance(event, Healthy | Ordered):
            unproven = 0
        record = step.record


@given(st.lists(EVENTS.filter(lambda event: not isinstance(event, Ordered)), max_size=40))
def test_a_trial_ends_with_the_candidate_or_with_what_was_current_before(events):
    record = ON_NEW._replace(trial=Trial(NEWER, "d2", 1.0))
    for event in events:
        if record.trial is not None:
            record = after(record, Started(ALL) if isinstance(event, Started) else event).record
    assert record.current in (NEW, NEWER)
    assert record.current == NEW or Healthy("newer") in events


def test_an_order_that_has_ended_is_remembered_when_the_agent_of_another_falls_back():
    """Else it would be tried again at the next start."""
    other = ON_NEW._replace(starts=MOST_STARTS, ended=Ended("d7", "agent@0.7.0", "rejected"))
    assert after(other, Started(ALL)).record.ended.deployment == "d7"
