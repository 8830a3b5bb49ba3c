"""A rollout of the agent itself: from wheels on the host to another agent on a device, which serves its model on."""

import json
import os

import pytest

from skerry_agent import __version__
from tests.kit.agents import agent_wheel
from tests.kit.commands import skerry
from tests.kit.restarts import Manager
from tests.kit.waiting import eventually
from tests.kit.wheels import write_wheels
from tests.system.fleet import FIRST, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system
VERSION = "9.1.0"
LOST = """
from skerry_agent.supervisor import connections
connections.DeviceLink.connected = property(lambda _self: False)
"""


def make_agent(home, folder, version=VERSION, **edits):
    write_wheels(folder, agent_wheel(version, **edits))
    done = skerry(home, "runtime", "create", str(folder), "--kind", "agent", "--name", "agent", "--version", version,
                  "--machine", os.uname().machine, "--python", "cp311")  # fmt: skip
    assert f"agent agent@{version} is in the store" in done.stdout


@pytest.fixture
def manager(device):
    made = Manager(device.folder, dict(os.environ), str(device.config))
    made.start()
    device.await_serving(FIRST)
    yield made
    made.stop()


def shown(home, device):
    return json.loads(skerry(home, "device", "show", device.id, "--json").stdout)["device"]


def test_a_device_gets_another_agent_and_serves_its_model_as_before(home, device, manager, tmp_path):
    make_agent(home, tmp_path / "wheels")
    plan = json.loads(skerry(home, "rollout", "plan", f"agent@{VERSION}", "--device", device.id, "--json").stdout)
    assert (plan[0]["agent"], plan[0]["bytes_expected"] > 100_000) == (__version__, True)
    view = await_end(home, start_rollout(home, f"agent@{VERSION}", device.id))
    assert outcomes(view) == {("succeeded", "")}, device.tail()
    assert manager.starts == 1
    status = device.await_serving(FIRST)
    assert (status["version"], status["issues"]) == (VERSION, [])
    found = shown(home, device)
    assert (found["agent"], found["upgrade"]["runs"], found["upgrade"]["wanted"]) == (VERSION, f"agent@{VERSION}", "")
    text = skerry(home, "device", "show", device.id).stdout
    assert f"agent release: agent@{VERSION}; agent@{VERSION} succeeded" in text
    eventually(lambda: not list((device.state / "blobs").iterdir()), "nothing is left of what was fetched", 10.0)


def test_an_agent_that_cannot_connect_gives_way_to_the_one_before(home, device, manager, tmp_path):
    """And the rollout hears of it from the old one."""
    make_agent(home, tmp_path / "wheels", supervisor__agent_trial=LOST)
    view = await_end(home, start_rollout(home, f"agent@{VERSION}", device.id, "--trial", "6"))
    assert outcomes(view) == {("rolled_back", "agent_not_healthy")}, device.tail()
    assert "no connection to the broker" in view["deployments"][0]["detail"]
    assert device.await_serving(FIRST)["version"] == __version__
    found = shown(home, device)
    assert (found["agent"], found["upgrade"]["outcome"]) == (__version__, "rolled_back")
    assert any(issue.startswith("agent_not_healthy: agent: agent@9.1.0") for issue in found["issues"])
    assert "agent not healthy in time" in skerry(home, "device", "show", device.id).stdout
