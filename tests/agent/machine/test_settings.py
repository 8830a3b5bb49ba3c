"""The record of settings: what is kept is never lost, and no trial is begun without end."""

from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.machine import settings as machine
from skerry_agent.machine.settings import MAX_ATTEMPTS, REMEMBERED, SettingsRecord
from skerry_agent.wire.settings import SettingsOrder

GOOD, BAD = SettingsOrder("good", {"metered": True}), SettingsOrder("bad", {"broker_url": "mqtt://x"})
KEPT = machine.proven(machine.ordered(SettingsRecord(), GOOD, moved=False))


def test_an_order_on_trial_is_in_effect_and_the_one_before_holds_again_when_it_fails():
    trial = machine.ordered(KEPT, BAD, moved=False)
    assert (trial.outcome, trial.overlay.id) == ("trial", "bad")
    back = machine.failed(trial, "no_connection", "why")
    assert (back.outcome, back.overlay.id, back.failed.code) == ("rolled_back", "good", "no_connection")


def test_a_trial_is_begun_so_often_and_then_never_again():
    record = machine.ordered(KEPT, BAD, moved=False)
    for attempt in range(2, MAX_ATTEMPTS + 1):
        record = machine.started(record)
        assert record.trial.attempts == attempt
    record = machine.started(record)
    assert (record.trial, record.overlay.id, record.failed.code) == (None, "good", machine.AGENT_RESTARTS)
    assert machine.started(record) is record


def test_what_has_failed_or_is_kept_is_known_and_an_order_without_a_name_never_is():
    record = machine.failed(machine.ordered(KEPT, BAD, moved=False), "no_connection", "why")
    assert record.knows("good")
    assert record.knows("bad")
    assert not record.knows("other")
    assert not SettingsRecord().knows("")


def test_a_host_that_says_again_what_is_kept_hears_that():
    record = machine.failed(machine.ordered(KEPT, BAD, moved=False), "no_connection", "why")
    assert machine.known_again(record, "good").outcome == "kept"


STEPS = st.lists(st.sampled_from(["order", "start", "prove", "fail", "refuse"]), max_size=40)


@given(STEPS)
def test_whatever_happens_what_is_in_effect_is_what_was_kept_or_is_on_trial(steps):
    record, number, kept = SettingsRecord(), 0, ""
    for step in steps:
        before = record
        if step == "order":
            number += 1
            record = machine.ordered(record, SettingsOrder(f"o{number}"), moved=False)
        elif step == "refuse":
            number += 1
            record = machine.refused(record, SettingsOrder(f"o{number}"), "code", "why")
        elif step == "start":
            record = machine.started(record)
        elif record.trial is not None and step == "prove":
            record, kept = machine.proven(record), record.trial.overlay.id
        elif record.trial is not None and step == "fail":
            record = machine.failed(record, "code", "why")
        assert record.kept.id == kept
        assert record.overlay.id in {kept, record.trial.overlay.id if record.trial else kept}
        assert record is before or record.sequence == before.sequence + 1
        assert len(record.ended) <= REMEMBERED
        assert record.trial is None or record.trial.attempts <= MAX_ATTEMPTS
