"""The transfer policy of a rollout by its command line options; and a rollout watched to its end."""

import json

import pytest

from skerry_agent.wire import codec
from skerry_agent.wire.twin import DeploymentReport
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import rollouts
from tests.kit.commands import provision, skerry
from tests.kit.home import add_release, make_home, model_bytes


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    add_release(made, "1.0.0", model_bytes("a", 1000))
    provision(made, "dev-1", tmp_path / "d")
    return made


def policy_of(home, *options):
    done = skerry(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--json", *options)
    with open_registry(home.registry) as opened, opened.read() as session:
        row = rollouts.find(session, json.loads(done.stdout)["rollout"])
        return codec.decode(row.policy, Policy).transfer


@pytest.mark.parametrize(
    ("text", "minutes"), [("01:00-05:30", (60, 330)), ("22:00-6:05", (1320, 365)), ("0:00-23:59", (0, 1439))]
)
def test_hours(home, text, minutes):
    assert policy_of(home, "--hours", text).hours == minutes


def test_without_hours_any_time_will_do(home):
    assert policy_of(home).hours is None


@pytest.mark.parametrize("text", ["", "1-2", "24:00-01:00", "01:60-02:00", "01:00-01:00", "01:00", "-01:00-02:00"])
def test_hours_that_are_none_are_refused_in_one_line(home, text):
    done = skerry(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--hours", text, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_watch_ends_with_the_rollout(home, monkeypatch):
    started = json.loads(skerry(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--json").stdout)[
        "rollout"
    ]
    polls = iter([("fetching", None, 300), ("fetching", None, 700), ("idle", "succeeded", 1000)])

    def device_goes_on(_seconds):
        state, outcome, received = next(polls)
        with open_registry(home.registry) as opened, opened.write() as session:
            (row,) = rollouts.deployments(session, started)
            report = DeploymentReport(row.id, row.release, state, outcome, bytes_received=received, bytes_expected=1000)
            rollouts.apply_report(session, "dev-1", report, 1.0)
            rollouts.find(session, started).state = "succeeded" if outcome else "running"

    monkeypatch.setattr("skerry_host.cli.watch.time.sleep", device_goes_on)
    done = skerry(home, "rollout", "status", started, "--watch")
    assert "succeeded" in done.stdout
    assert not list(polls)


def test_watch_needs_a_terminal_and_a_name(home):
    assert skerry(home, "rollout", "status", "--watch", check=False).returncode == 2
