"""A runtime is part of what is ordered and of a slot: so it is proven, committed and rolled back with its model."""

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment, Record, SlotRuntime, Slots, State
from skerry_agent.machine.table import step
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from tests.agent.machine.transitions import OLD, OLDER

FIRST, SECOND = describe(b"runtime 2.3"), describe(b"runtime 2.4")
WITH_FIRST = replace(OLD, runtime=SlotRuntime("litert@2.3.0", "aa-cp311-x86_64", FIRST))
WITH_SECOND = replace(OLD, runtime=SlotRuntime("litert@2.4.0", "bb-cp311-x86_64", SECOND))
SAME = Deployment("d1", OLD.release, "cpu", replace(describe(b"m"), sha256=OLD.manifest_sha256))


@pytest.mark.parametrize(
    ("current", "ordered", "fetches"),
    [
        (OLD, None, False),
        (OLD, FIRST, True),
        (WITH_FIRST, FIRST, False),
        (WITH_FIRST, SECOND, True),
        (WITH_FIRST, None, True),
    ],
)
def test_the_same_release_with_another_runtime_is_a_deployment(current, ordered, fetches):
    after, _ = step(Record(slots=Slots(current)), events.Ordered(replace(SAME, runtime=ordered)))
    assert (after.state is State.FETCHING) == fetches
    assert fetches or after.deployment.reason == "already_current"


def test_what_lacks_its_runtime_is_made_again_though_it_was_ordered_before():
    after, _ = step(Record(slots=Slots(WITH_FIRST)), events.Ordered(replace(SAME, runtime=FIRST), anew=True))
    assert after.state is State.FETCHING


@pytest.mark.parametrize("failed", [events.RollbackOrdered(), events.CurrentFailed("bundle_damaged")])
def test_a_rollback_brings_the_runtime_back_though_the_bundle_is_the_same(failed):
    trial = Record(State.PROBATION, Slots(WITH_FIRST, OLDER, WITH_SECOND), replace(SAME, runtime=SECOND))
    committed, _ = step(trial, events.ProbationPassed())
    assert committed.slots == Slots(WITH_SECOND, WITH_FIRST)
    idle, _ = step(committed, events.Settled())
    assert step(idle, failed)[0].slots.current == WITH_FIRST


def test_the_same_bundle_and_runtime_made_anew_is_no_place_to_go_back_to():
    trial = Record(State.PROBATION, Slots(WITH_FIRST, OLDER, WITH_FIRST), replace(SAME, runtime=FIRST))
    assert step(trial, events.ProbationPassed())[0].slots == Slots(WITH_FIRST, OLDER)


def test_a_journal_of_before_runtimes_is_read_and_one_of_now_by_agents_of_before():
    written = codec.encode(Record(slots=Slots(OLD)))
    assert b"runtime" not in written
    assert codec.decode(written, Record).slots.current.runtime is None
