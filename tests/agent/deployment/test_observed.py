"""What is observed of a committed model over hours: it finds nothing, or its memory grows, and that is in the twin."""

import pytest

from skerry_agent.deployment.observed import Observed
from skerry_agent.ports.runner_protocol import Heartbeat, Job
from skerry_agent.wire.manifest import Baseline, Bundle
from skerry_agent.wire.sketch import Sketch
from tests.kit.unit import Device, order

HOUR = 3600


def job(version: str = "1.0.0") -> Job:
    return Job("m", f"m@{version}", "", Bundle("cpu", (), (), (), baseline=Baseline(0.9, 100)))


def heard(observed: Observed, hours: float, version="1.0.0", rss_per_s=0.0, pid=1, **found):
    """Heartbeats, one in ten seconds, for some hours; the twins that they made."""
    start, issues = observed.__dict__.setdefault("now", 0.0), []
    for n in range(int(hours * HOUR / 10)):
        observed.now = start + 10.0 * (n + 1)
        rss = 40_000_000 + int(rss_per_s * 10 * n)
        beat = Heartbeat(9, 0, 0, 0, Sketch(), 0.0, rss, 0.1, **found)
        observed.heartbeat(observed.now, job(version), pid, beat)
        if not issues or issues[-1] != observed.issues:
            issues.append(observed.issues)
    return issues


def test_a_release_that_finds_nothing_is_an_issue_until_it_finds_something():
    observed = Observed()
    heard(observed, 4.0, judged=9, positives=9)
    assert observed.issues == ()
    said = heard(observed, 1.5, "1.1.0", judged=9)
    assert len(said) == 2  # it does not change with each heartbeat
    assert said[-1][0].startswith("no_positive_output: no positive output for ")
    heard(observed, 0.01, "1.1.0", judged=9, positives=1)
    assert observed.issues == ()


def test_another_release_begins_anew():
    observed = Observed()
    heard(observed, 4.0, judged=9, positives=9)
    heard(observed, 1.5, "1.1.0", judged=9)
    heard(observed, 0.5, "1.2.0", judged=9)
    assert observed.issues == ()


def test_what_is_not_judged_is_never_an_issue():
    observed = Observed()
    heard(observed, 30.0)
    assert observed.issues == ()


def test_memory_that_grows_is_an_issue_within_some_minutes_over_an_hour_and_another_process_begins_anew():
    observed = Observed()
    assert heard(observed, 1.0, rss_per_s=10_000) == [()]
    said = heard(observed, 0.5, rss_per_s=10_000, version="1.0.0")
    assert said == [()] or said[-1][0].startswith("memory_growing: ")
    observed = Observed()
    said = heard(observed, 1.5, rss_per_s=10_000)
    assert len(said) == 2
    assert said[-1][0].startswith("memory_growing: 36.00 MB/h (at least 36.00), ")
    heard(observed, 0.01, pid=2)
    assert observed.issues == ()


@pytest.mark.parametrize("found", [{}, {"judged": 9, "positives": 9}])
def test_steady_memory_is_none(found):
    observed = Observed()
    heard(observed, 3.0, **found)
    assert observed.issues == ()


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_the_twin_has_the_issue_with_its_code(device):
    """Through the unit: heartbeats of the runner that serves, and of no other."""
    runner = device.install("1.0.0", 1)
    for n in range(4 * HOUR // 4):
        device.clock.advance(4.0)
        runner.heartbeat(inferences=1, rss_bytes=40_000_000 + 40_000 * n)
    (issue,) = device.unit.issues
    assert issue.startswith("m: memory_growing: ")


def test_the_heartbeats_of_a_candidate_are_not_taken_for_those_of_the_release_that_serves(device):
    """Before, what a candidate had of memory while it was loaded was the floor of the other's, which then had grown."""
    runner = device.install("1.0.0", 1)
    for _ in range(200):
        device.clock.advance(4.0)
        runner.heartbeat(inferences=1, judged=1, positives=1, rss_bytes=40_000_000)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    before = device.unit._observed.looks.judged
    device.processes.runners[-1].heartbeat(judged=5, rss_bytes=1_000_000)
    assert device.unit._observed.looks.judged == before
    assert min(size for _, size in device.unit._observed._memory._points) == 40_000_000


def leak(device, runner, seconds, rate):
    for n in range(seconds):
        device.clock.advance(1.0)
        runner.exercised(0, rss_bytes=40_000_000 + rate * n)


def test_a_candidate_whose_memory_grows_does_not_pass(device):
    device.install("1.0.0", 1)
    device.max_seconds = 60.0
    device.unit.order(order("1.1.0", 2))
    device.pump()
    runner = device.processes.runners[-1]
    runner.validate()
    runner.follow()
    leak(device, runner, 59, 500_000)
    runner.heartbeat(inferences=20, rss_bytes=70_000_000)
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "memory_growing")


@pytest.mark.parametrize(("grows_per_s", "reason"), [(900_000, "memory_growing"), (0, "")])
def test_a_quiet_candidate_is_observed_until_it_is_known_whether_its_memory_grows(tmp_path, grows_per_s, reason):
    """Before, one with a probation of 30 s had passed after 15, of which 5 were looked at: a leak of 1 MB/s passed."""
    device = Device(tmp_path)
    device.max_seconds = 30.0
    device.unit.order(order("1.0.0"))
    device.pump()
    candidate = device.processes.runners[-1]
    candidate.validate()
    candidate.follow()
    for second in range(31):
        if device.deployment.outcome is None:
            device.clock.advance(1.0)
            candidate.exercised(1, rss_bytes=40_000_000 + grows_per_s * second)
    assert device.deployment.reason == reason


def test_a_candidate_that_finds_nothing_where_there_was_something_all_the_time_waits_and_fails(device):
    old = device.install("1.0.0", 1)
    for _ in range(1100):  # three hours, and each look of ten seconds had one
        device.clock.advance(10.0)
        old.heartbeat(inferences=8, judged=8, positives=1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    blind = device.processes.runners[-1]
    blind.validate()
    blind.follow()
    for _ in range(3):
        device.clock.advance(6.0)
        blind.heartbeat(inferences=20, judged=20)
        assert device.deployment.outcome is None
    device.clock.advance(3.5)
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "no_positive_output")
