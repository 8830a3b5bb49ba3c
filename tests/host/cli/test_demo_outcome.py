"""The verdict of the demo: only the whole story, with nothing lost, is ok. The story itself runs in tests/system."""

from dataclasses import replace

import pytest

from skerry_host.cli.demo.outcome import DeploymentOutcome, DeviceOutcome, Outcome, Quality

GOOD, BAD = "m@1.1.0", "m@1.2.0"
BUILD = Quality("top1", 0.93, 0.92, 2500, 560, 196)
DEVICE = DeviceOutcome("d1", GOOD, 10, {"p50": 1.0}, None, "absent")
PATCHED = DeploymentOutcome(GOOD, "d1", "succeeded", "", "patch", 8, 200, 1.0)
REFUSED = DeploymentOutcome(BAD, "d1", "rolled_back", "latency_over_budget", "patch", 8, 200, 1.0)


def outcome(device=DEVICE, patched=PATCHED, refused=REFUSED, lost=0):
    return Outcome(BUILD, [device], [patched, refused], 100, lost, 9.0, GOOD, BAD)


def test_the_whole_story_is_ok():
    data = outcome().as_json()
    assert data["ok"] is True
    assert data["build"] == {
        "metric": "top1",
        "float": 0.93,
        "int8": 0.92,
        "samples": 2500,
        "float_bytes": 560,
        "int8_bytes": 196,
    }
    assert {"devices", "deployments", "lost_requests", "seconds"} <= set(data)
    assert not {"good", "bad"} & set(data)


@pytest.mark.parametrize(
    "story",
    [
        outcome(lost=1),
        outcome(device=replace(DEVICE, release=BAD)),
        outcome(patched=replace(PATCHED, transfer="full")),
        outcome(patched=replace(PATCHED, outcome="failed")),
        outcome(refused=replace(REFUSED, outcome="succeeded")),
        outcome(refused=replace(REFUSED, reason="")),
        Outcome(BUILD, [], [], good=GOOD, bad=BAD),
    ],
    ids=["lost", "on the bad release", "full", "failed", "bad one accepted", "without a reason", "nothing happened"],
)
def test_anything_less_is_not(story):
    assert not story.ok
