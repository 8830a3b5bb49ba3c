"""A device is moved to another runtime and back, by real processes and a real pip; one that crashes changes nothing."""

import json
import sys
from pathlib import Path

import pytest

from skerry_agent.state.runtimes import PLACE
from skerry_host.cli.demo.client import Client
from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.kit.wheels import SIGILL_FOR_REAL, Wheel, write_wheels
from tests.system.fleet import FIRST, await_end, outcomes

pytestmark = pytest.mark.system
TAG = f"{PLACE.python}-{PLACE.python}-manylinux_2_17_{PLACE.machine}"


@pytest.fixture(autouse=True)
def pip():
    pytest.importorskip("pip", reason="the device has no pip to install with")
    assert sys.version_info >= (3, 11)


def create(home, folder, name, code):
    """A runtime of one wheel beside LiteRT, which stays the base environment's."""
    wheel = Wheel(name, tag=TAG, files={f"{name}.py": code})
    skerry(home, "runtime", "create", str(write_wheels(folder / name, wheel)), "--name", name, "--version", "1.0.0")
    return f"{name}@1.0.0"


def roll_out(home, device, release, runtime=""):
    chosen = ["--runtime", runtime] if runtime else []
    started = skerry(home, "rollout", "start", release, "--device", device.id, *chosen, "--json").stdout
    return await_end(home, json.loads(started)["rollout"])


def runtimes(device):
    """(current, previous) runtimes by the device, and the folders on its disk."""
    model = device.status()["models"]["fashion"]
    previous = model["previous"]["runtime"] if model["previous"] else None
    folder = device.state / "runtimes"
    return model["current"]["runtime"], previous, len(list(folder.iterdir())) if folder.exists() else 0


def test_a_runtime_comes_proves_the_model_and_goes_back_without_a_lost_request(home, running, tmp_path):
    good, bad = create(home, tmp_path, "good", "WORKS = True\n"), create(home, tmp_path, "bad", SIGILL_FOR_REAL)
    url = running.status()["http"]["fashion"]
    with Client(url, "fashion") as client:
        plan = json.loads(
            skerry(home, "rollout", "plan", FIRST, "--device", running.id, "--runtime", good, "--json").stdout
        )
        view = roll_out(home, running, FIRST, good)
        assert outcomes(view) == {("succeeded", "")}, view
        assert view["deployments"][0]["bytes_received"] == plan[0]["bytes_expected"] == plan[0]["runtime_bytes"]
        assert runtimes(running) == (good, "", 1)
        pid = running.status()["pids"]["fashion"]
        path = b"PYTHONPATH=" + str(running.state / "runtimes").encode()
        assert path in Path(f"/proc/{pid}/environ").read_bytes()

        view = roll_out(home, running, FIRST, bad)
        assert outcomes(view) == {("failed", "runtime_crashed")}
        assert "SIGILL at import of runtime bad@1.0.0" in view["deployments"][0]["detail"]
        assert runtimes(running) == (good, "", 1)

        skerry(home, "rollback", "--device", running.id)
        eventually(lambda: runtimes(running) == ("", None, 0), "the runtime of before is back", 30)
    assert client.lost == 0
