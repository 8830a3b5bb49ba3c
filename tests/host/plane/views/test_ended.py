"""Counters of deployments: they only go up, across revisions and restarts, and no device makes a label."""

import pytest

from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.tables import DeploymentRow, RolloutRow
from skerry_host.plane.views.ended import EndedDeployments

SUCCEEDED, BACK = ("m", "succeeded", "none"), ("m", "rolled_back", "crashed")


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
            rollout = {"selection": "all", "policy": b"{}", "state": "running", "created": 1.0}
            session.add(RolloutRow(id="r", release="m@1.0.0", **rollout))
        yield opened


def deploy(registry, name, outcome, reason="", model="m", created=1.0):
    row = {"model": model, "release": "m@1.0.0", "target": "cpu", "created": created}
    row |= {"outcome": outcome, "reason": reason}
    with registry.write() as session:
        session.add(DeploymentRow(id=name, rollout="r", device="dev-1", **row))


def revise(registry, name, outcome, reason=""):
    with registry.write() as session:
        row = session.get_one(DeploymentRow, name)
        row.outcome, row.reason = outcome, reason


def read(registry, ended):
    with registry.read() as session:
        return ended.read(session)


def test_an_outcome_that_is_revised_stays_counted_and_so_it_does_after_a_restart(registry, tmp_path):
    file = tmp_path / "counted.json"
    ended = EndedDeployments(file)
    deploy(registry, "a", "succeeded")
    deploy(registry, "b", "succeeded")
    assert read(registry, ended) == {SUCCEEDED: 2}
    revise(registry, "a", "rolled_back", "crashed")
    assert read(registry, ended) == {BACK: 1, SUCCEEDED: 2}
    deploy(registry, "c", "succeeded")
    assert read(registry, ended) == read(registry, EndedDeployments(file)) == {BACK: 1, SUCCEEDED: 3}


def test_what_was_kept_and_cannot_be_read_is_forgotten(registry, tmp_path):
    (tmp_path / "counted.json").write_text("damaged")
    deploy(registry, "a", "succeeded")
    assert read(registry, EndedDeployments(tmp_path / "counted.json")) == {SUCCEEDED: 1}


def test_codes_that_the_host_does_not_know_are_one_label(registry):
    for n in range(3):
        deploy(registry, f"d{n}", "failed", f"strange_{n}")
    assert read(registry, EndedDeployments()) == {("m", "failed", "other"): 3}


def test_models_beyond_a_hundred_are_one_label(registry):
    for n in range(105):
        deploy(registry, f"d{n}", "failed", "deadline", model=f"m{n:03}")
    found = read(registry, EndedDeployments())
    assert len(found) == 101
    assert found["other", "failed", "deadline"] == 5


def test_a_later_model_takes_no_earlier_one_its_name(registry):
    """Its deployments would be counted again as `other`, and the counter rise by itself."""
    ended = EndedDeployments()
    for n in range(100):
        deploy(registry, f"d{n}", "failed", "deadline", model=f"m{n:03}")
    before = read(registry, ended)
    deploy(registry, "late", "failed", "deadline", model="a", created=2.0)
    assert read(registry, ended) == {**before, ("other", "failed", "deadline"): 1}


def test_open_deployments_are_not_counted_and_releases_are_those_of_rollouts(registry):
    deploy(registry, "a", None)
    ended = EndedDeployments()
    assert read(registry, ended) == {}
    assert ended.releases == {"m@1.0.0"}
