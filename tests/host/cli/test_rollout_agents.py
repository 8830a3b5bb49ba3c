"""`skerry rollout` of a release of the agent: the same commands, and one line for each mistake."""

import json

import pytest

from skerry_agent.state.runtimes import PLACE
from skerry_agent.wire import codec
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.twin import Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, twins
from tests.kit.commands import skerry
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.wheels import write_wheels
from tests.lab.agents import wheel

FACTS = DeviceFacts(machine=PLACE.machine, python=PLACE.python, agent="0.8.0")


def make_agent(home, folder, name):
    write_wheels(folder, wheel("9.1.0"))
    place = ("--machine", PLACE.machine, "--python", PLACE.python)
    options = ("--kind", "agent", "--name", name, "--version", "9.1.0", *place)
    return skerry(home, "runtime", "create", str(folder), *options).stdout


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    said = make_agent(made, tmp_path / "wheels", "agent")
    assert "next: skerry rollout start agent@9.1.0 --group GROUP" in said
    with open_registry(made.registry) as registry, registry.write() as session:
        for name, facts in (("dev-1", FACTS), ("dev-2", None)):
            devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
            reported = Reported(name, "boot", 1, 0, "0.8.0", "generic-x86", ("cpu",), facts=facts)
            twins.accept_reported(session, reported, codec.encode(reported), 1.0)
    return made


def test_it_is_planned_and_started_for_the_devices_that_know_such_an_order(home):
    both = ("--device", "dev-1", "--device", "dev-2")
    done = skerry(home, "rollout", "plan", "agent@9.1.0", *both, "--json", check=False)
    rows = json.loads(done.stdout)
    assert done.returncode == 3
    assert [(row["device"], row.get("agent"), row.get("code")) for row in rows] == [
        ("dev-1", "0.8.0", None),
        ("dev-2", None, "agent_too_old"),
    ]
    done = skerry(home, "rollout", "start", "agent@9.1.0", "--device", "dev-1", "--trial", "60")
    assert "agent agent@9.1.0 to 1 device" in done.stdout
    rollout = json.loads(skerry(home, "rollout", "status", "--json").stdout)[0]
    assert (rollout["release"], rollout["state"]) == ("agent@9.1.0", "pending")
    aborted = skerry(home, "rollout", "abort", rollout["id"])
    assert "is being aborted" in aborted.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "agent@9.9.9", "--device", "dev-1"), "there is no release agent@9.9.9"),
        (("start", "agent@9.1.0", "--device", "dev-1", "--runtime", "base"), "--runtime is for releases of models"),
        (("plan", "agent@9.1.0", "--device", "dev-1", "--runtime", "base"), "--runtime is for releases of models"),
        (("start", "agent@9.1.0", "--device", "dev-1", "--trial", "0"), "--trial"),
        (("start", "agent@9.1.0", "--device", "dev-2"), "its agent knows no runtimes"),
    ],
)
def test_each_mistake_is_one_line(home, arguments, words):
    done = skerry(home, "rollout", *arguments, check=False)
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_of_the_same_name_is_the_model(home, tmp_path):
    """As before there were releases of agents."""
    add_release(home, "9.1.0", model_bytes("x", 3000))
    make_agent(home, tmp_path / "wheels", "fashion")
    done = skerry(home, "rollout", "plan", "fashion@9.1.0", "--device", "dev-1", "--json")
    assert json.loads(done.stdout)[0]["target"] == "cpu"
