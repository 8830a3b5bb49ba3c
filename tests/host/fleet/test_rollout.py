"""The planner, as text: from a rollout, its deployments and the time to the next actions."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.fleet.gate import evaluate_gate
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED, Admit, Close, Deployment, EnterState, Rollout, next_due, plan

POLICY = Policy(silence_s=60.0)
NOW = 1000.0


def rollout(state="running", **policy):
    return Rollout("r1", "fashion@1.0.0", state, Policy(silence_s=60.0, **policy))


def deployment(device, wave=0, *, sent=None, heard=None, outcome=None, reason=""):
    return Deployment(f"d-{device}", device, wave, sent, heard, outcome, reason)


def said(actions):
    """The plan as one line."""
    words = []
    for action in actions:
        match action:
            case Admit(d):
                words.append(f"admit {d.device}")
            case Close(d, outcome, _):
                words.append(f"close {d.device} {outcome}")
            case EnterState(state, _):
                words.append(f"enter {state}")
    return ", ".join(words)


CASES = {
    "a new one admits its wave": (
        rollout("pending"), [deployment("a"), deployment("b")], "enter running, admit a, admit b",
    ),
    "it waits for its devices": (rollout(), [deployment("a", sent=990.0)], ""),
    "it ends well": (rollout(), [deployment("a", sent=1, outcome="succeeded")], "enter succeeded"),
    "it ends badly": (
        rollout(), [deployment("a", sent=1, outcome="succeeded"), deployment("b", sent=1, outcome="rolled_back")],
        "enter failed",
    ),
    "half may miss": (
        rollout(max_unsuccessful=0.5),
        [deployment("a", sent=1, outcome="succeeded"), deployment("b", sent=1, outcome="failed")],
        "enter succeeded",
    ),
    "silence ends a deployment": (
        rollout(), [deployment("a", sent=900.0), deployment("b", sent=999.0)], "close a timed_out",
    ),
    "a word renews the patience": (rollout(), [deployment("a", sent=900.0, heard=950.0)], ""),
    "the next wave waits": (rollout(), [deployment("a", sent=999.0), deployment("b", 1)], ""),
    "the next wave comes": (rollout(), [deployment("a", sent=1, outcome="succeeded"), deployment("b", 1)], "admit b"),
    "a bad wave stops the others": (
        rollout(), [deployment("a", sent=1, outcome="failed"), deployment("b", 1), deployment("c", 2)],
        "close b cancelled, close c cancelled, enter failed",
    ),
    "an abort closes what is open": (
        rollout("aborting"),
        [deployment("a", sent=1, outcome="succeeded"), deployment("b", sent=1), deployment("c")],
        "close b cancelled, close c cancelled, enter aborted",
    ),
    "a weak power supply does not stop a release": (
        rollout(),
        [
            deployment("a", sent=1, outcome="succeeded"),
            deployment("b", sent=1, outcome="rolled_back", reason="power_supply"),
            deployment("c", sent=1, outcome="failed", reason="accelerator_hung"),
        ],
        "enter succeeded",
    ),
    "nor does it hide one that fails": (
        rollout(max_unsuccessful=0.4),
        [
            deployment("a", sent=1, outcome="rolled_back", reason="crashed"),
            deployment("b", sent=1, outcome="rolled_back", reason="power_supply"),
            deployment("c", sent=1, outcome="succeeded"),
        ],
        "enter failed",
    ),
    "a wave that only weak supplies have seen proves nothing": (
        rollout(), [deployment("a", sent=1, outcome="rolled_back", reason="power_supply"), deployment("b", 1)],
        "close b cancelled, enter failed",
    ),
    "none to move": (rollout("pending"), [], "enter running, enter succeeded"),
}  # fmt: skip


@pytest.mark.parametrize(("given_rollout", "deployments", "expected"), CASES.values(), ids=CASES)
def test_plan(given_rollout, deployments, expected):
    assert said(plan(given_rollout, deployments, NOW)) == expected


@pytest.mark.parametrize("state", ENDED)
def test_a_rollout_that_has_ended_has_no_actions(state):
    assert plan(rollout(state), [deployment("a"), deployment("b", sent=1.0)], NOW) == []


OUTCOMES = st.sampled_from(["succeeded", "failed", "rolled_back", "timed_out"])


@given(st.lists(st.tuples(st.integers(0, 3), OUTCOMES), min_size=1, max_size=12), st.floats(0, 1))
def test_every_rollout_ends_and_no_wave_overtakes(devices, allowed):
    """Played to its end: each deployment is admitted at most once, waves in order, and an end is reached."""
    current = rollout("pending", max_unsuccessful=allowed)
    members = {f"d-{i}": deployment(str(i), wave) for i, (wave, _) in enumerate(devices)}
    ends = {f"d-{i}": outcome for i, (_, outcome) in enumerate(devices)}
    admitted = []
    for now in itertools.count(1000.0):
        for action in plan(current, list(members.values()), now):
            match action:
                case Admit(d):
                    assert members[d.id].sent is None
                    admitted.append(d.wave)
                    members[d.id] = replace(d, sent=now, outcome=ends[d.id])
                case Close(d, outcome, _):
                    members[d.id] = replace(d, outcome=outcome)
                case EnterState(state, _):
                    current = replace(current, state=state)
        if current.state in ENDED:
            break
        assert now < 1020
    assert admitted == sorted(admitted)
    assert all(d.outcome for d in members.values())


TIMES = st.none() | st.floats(NOW - 100, NOW)


@given(
    st.lists(st.tuples(TIMES, TIMES, st.sampled_from([None, None, "succeeded"])), min_size=1, max_size=6),
    st.floats(0, 200),
)
def test_while_nothing_changes_nothing_is_due_before_its_time(devices, later):
    """So that nobody need look."""
    members = [
        deployment(str(number), sent=sent, heard=heard, outcome=outcome)
        for number, (sent, heard, outcome) in enumerate(devices)
    ]
    due = next_due(rollout(), members)
    if plan(rollout(), members, NOW):
        return
    assert due is not None
    if plan(rollout(), members, NOW + later):
        assert NOW + later >= due - 1e-9
    assert said(plan(rollout(), members, due + 1)).startswith("close ")


def test_what_has_ended_is_never_due():
    assert next_due(rollout("succeeded"), [deployment("a", sent=1.0)]) is None
    assert next_due(rollout(), [deployment("a", sent=1.0, outcome="failed"), deployment("b")]) is None


def test_gate_says_why():
    assert evaluate_gate(POLICY, ["succeeded", "succeeded"]).reason == "2 of 2 succeeded"
    beside = "1 more ended for causes outside the release"
    assert evaluate_gate(POLICY, ["succeeded"], 1).reason == f"1 of 1 succeeded; {beside}"
    assert evaluate_gate(POLICY, [], 1).reason == f"nothing to judge the release by; {beside}"
    result = evaluate_gate(Policy(max_unsuccessful=0.2), ["succeeded", "failed", "rolled_back"])
    assert not result.passed
    assert result.reason == "1 failed, 1 rolled back of 3, 20% allowed"
