"""What a state of a deployment switches on, leaving it switches off: the exercise, the trial, transfers, timers.

First as a property of the table, whose effects are what switches; then with a unit in each state and every event.
"""

import itertools

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.machine.table import TABLE, step
from tests.agent.machine.transitions import EVENTS, record_in
from tests.kit.unit import Device, order

TRANSFER, UPDATER, TRIAL, EXERCISE = "transfer", "updater", "trial", "exercise"
MAY_BE_ON = {
    State.FETCHING: {TRANSFER},
    State.VERIFYING: {UPDATER},
    State.STAGED: {TRIAL},
    State.PROBATION: {TRIAL, EXERCISE},
}
"""What is on in each state; nothing is in the others."""

SWITCHES = {
    events.Fetch: ({TRANSFER}, {UPDATER}),  # it comes after a stage only when the updater has answered
    events.Stage: ({UPDATER}, {TRANSFER}),
    events.StartCandidate: ({TRIAL}, {UPDATER}),
    events.Admit: ({EXERCISE}, set()),
    events.Retire: (set(), {TRIAL, EXERCISE}),
    events.Drop: (set(), {TRANSFER, UPDATER, TRIAL, EXERCISE}),
    events.Serve: (set(), set()),
    events.SeekFactory: (set(), set()),
    events.Collect: (set(), set()),
}
"""Of each effect: what it switches on, and what off."""

ANSWERS = {
    events.Fetched: {TRANSFER},
    events.FetchFailed: {TRANSFER},
    events.Verified: {UPDATER},
    events.PatchFailed: {UPDATER},
    events.PatchRefused: {UPDATER},
    events.StageCrashed: {UPDATER},
    events.StageFailed: {UPDATER},
    events.Booted: {TRANSFER, UPDATER, TRIAL, EXERCISE},
}
"""What has ended by itself when an event comes."""


def test_every_effect_says_what_it_switches():
    assert set(SWITCHES) == set(events.Effect.__subclasses__())


@pytest.mark.parametrize("budget", [0, 2, 29], ids=["first attempt", "third attempt", "thirtieth attempt"])
@pytest.mark.parametrize("pair", TABLE, ids=lambda pair: f"{pair[0]} {pair[1].__name__}")
def test_no_transition_leaves_on_what_its_next_state_does_not_know(pair, budget):
    state, kind = pair
    event = next(each for each in EVENTS if type(each) is kind)
    before = with_attempts(record_in(state), budget)
    after, effects = step(before, event)
    on = MAY_BE_ON.get(state, set()) - ANSWERS.get(kind, set())
    for effect in effects:
        ons, offs = SWITCHES[type(effect)]
        on = (on - offs) | ons
    assert on <= MAY_BE_ON.get(after.state, set())


def with_attempts(record, attempts):

    if record.deployment is None:
        return record
    return replace(record, deployment=replace(record.deployment, attempts=attempts))


# -- a unit in each state ----------------------------------------------------------------------------------------------


def bring_to(device: Device, state: State) -> None:
    """A device that serves 1.0.0, with the deployment of 1.1.0 in a state; at rest where it is idle."""
    device.install("1.0.0", 1)
    if state is State.IDLE:
        return
    if state is State.FETCHING:
        device.link.retained.clear()
    if state is State.VERIFYING:
        device.stage = None
    device.unit.order(order("1.1.0", 2))
    device.pump()
    if state in {State.PROBATION, State.ROLLING_BACK}:
        candidate = device.processes.runners[-1]
        candidate.validate()
        candidate.follow()
    if state is State.ROLLING_BACK:
        device.unit.handle(events.CandidateFailed("latency_over_budget", "p95"))
    assert device.unit.record.state is state


def timers(device: Device) -> int:
    return sum(timer.call is not None for _due, _n, timer in device.clock._timers)


PAIRS = [
    (state, event)
    for state, event in itertools.product(State, EVENTS)
    if (state, type(event)) in TABLE and state is not State.COMMITTED  # which is over within one event
    if not isinstance(event, events.FactoryFound | events.Verified)  # these need files
]


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda it: str(it).split("(")[0])
def test_a_device_exercises_nothing_but_a_candidate_on_probation(tmp_path, state, event):
    """With nobody asking, devices went on with golden inputs after a commit until they were started again."""
    device = Device(tmp_path)
    bring_to(device, state)
    assert exercised(device) == ({"m@1.1.0"} if state is State.PROBATION else set())
    before = device.processes.runners[-1]
    if isinstance(event, events.Booted):
        device.unit.shut_down()
        device.boot()
    else:
        device.unit.handle(event)
    on_probation = device.unit.record.state is State.PROBATION
    assert exercised(device) == ({"m@1.1.0"} if on_probation else set())
    if on_probation or isinstance(event, events.Booted):
        return
    before.heartbeat()  # a late word of a runner switches nothing on again
    device.clock.advance(3.0)
    assert exercised(device) == set()


def exercised(device: Device) -> set[str]:
    return {runner.job.release for runner in device.processes.runners if runner.exercised_at_hz and not runner.killed}


ENDS = {
    "passes": lambda device, candidate: candidate.heartbeat(inferences=20),
    "fails": lambda device, candidate: candidate.heartbeat(invalid_outputs=1),
    "is withdrawn": lambda device, candidate: device.unit.withdraw(),
    "is replaced": lambda device, candidate: device.unit.order(order("1.0.0", 3)),
    "is rolled back": lambda device, candidate: device.unit.handle(events.RollbackOrdered()),
    "crashes": lambda device, candidate: candidate.listener.exited("crashed", "killed by SIGSEGV"),
    "is lost": lambda device, candidate: [device.unit.handle(events.CandidateLost("killed", "why")) for _ in range(3)],
}


@pytest.mark.parametrize("end", ENDS)
def test_a_deployment_leaves_no_timer_behind_however_it_ends(tmp_path, end):
    """As many are left as before it: those of the runner that serves."""
    device = Device(tmp_path)
    old = device.install("1.0.0", 1)
    let_pass(device, old)
    before = timers(device)
    bring_to_probation(device)
    candidate = device.processes.runners[-1]
    old.follow()
    ENDS[end](device, candidate)
    for runner in (candidate, old) * 2:
        runner.follow()
    assert device.unit.record.state in {State.IDLE, State.FETCHING}
    device.unit.withdraw()
    let_pass(device, candidate if end == "passes" else old)
    assert timers(device) == before


def bring_to_probation(device: Device) -> None:
    device.unit.order(order("1.1.0", 2))
    device.pump()
    device.processes.runners[-1].validate()
    device.processes.runners[-1].follow()


def let_pass(device: Device, serving) -> None:
    """Long enough for a bundle to be found healthy, and for a runner that is gone to be forgotten."""
    for _ in range(3):
        device.clock.advance(4.0)
        serving.heartbeat()
