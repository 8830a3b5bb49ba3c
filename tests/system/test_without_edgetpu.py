"""A release for the Edge TPU on devices whose Edge TPU cannot run it: each ends with the cpu bundle, and says why.

The compiler and libedgetpu are stand-ins (no Edge TPU is at hand); releases, plane, agents and runners are real.
"""

import json

import pytest

from skerry_agent.runner.engines.tpu import LIBRARY
from skerry_host.release.store import Store
from tests.kit.commands import serving, skerry
from tests.kit.edgetpu.compiler import stand_in  # noqa: F401 - a fixture
from tests.kit.edgetpu.models import compiled_of
from tests.kit.home import make_home
from tests.kit.libedgetpu import library  # noqa: F401 - a fixture
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, RECIPE, await_end, outcomes, provision, start_rollout

pytestmark = pytest.mark.system

BOARD = "raspberry-pi-4-coral-usb"


@pytest.fixture
def home(built, tmp_path, stand_in):  # noqa: F811
    """A home with a release whose edgetpu bundle asks for runtime 14, made of the same source as that of `built`."""
    cpu = Store(built.store).release(FIRST).bundle("cpu")
    compiled = compiled_of(cpu.inputs[0], cpu.outputs[0], runtime=14)
    stand_in({"log": "success.txt", "files": {"model_edgetpu.tflite": compiled}})
    made = make_home(tmp_path / "home")
    out = str(tmp_path / "build")
    skerry(made, "model", "build", str(RECIPE), "--board", BOARD, "--version", "1.0.0", "--out", out)
    skerry(made, "release", "create", out, "--version", "1.0.0")
    return made


@pytest.fixture
def board(tmp_path, library, monkeypatch):  # noqa: F811
    """Make this machine one whose libedgetpu is the stand-in, in one of its moods."""

    def become(**moods):
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / LIBRARY).symlink_to(library)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
        for name, value in moods.items():
            monkeypatch.setenv(name, value)

    return become


def assert_runs_on_the_cpu(device, why):
    status = device.await_serving(FIRST)
    model = status["models"]["fashion"]
    assert model["current"]["target"] == "cpu"
    assert model["runtime"]["name"] == "ai-edge-litert"
    (issue,) = status["issues"]
    assert issue.startswith(f"fashion runs without the Edge TPU: {why}")
    assert "by ai-edge-litert 2" in device.command("status").stdout


def test_an_older_driver_by_rollout(home, board, tmp_path):
    board(STAND_IN="ok", STAND_IN_RUNTIME="13")
    with serving(home, "--port", "0", "--no-http") as plane:
        device = provision(home, "coral-01", plane.broker, tmp_path / "device", BOARD)
        device.start()
        try:
            view = await_end(home, start_rollout(home, FIRST, device.id))
            assert outcomes(view) == {("succeeded", "")}, device.tail()
            why = (
                "the model is compiled for Edge TPU runtime 14, this device's libedgetpu has 13; compile it with -m 13"
            )
            assert_runs_on_the_cpu(device, why)
            checks = {check["check"]: check for check in json.loads(device.command("doctor", "--json").stdout)}
            found = checks["runtime edgetpu"]
            assert (found["ok"], "libedgetpu runtime 13: usb:" in found["detail"]) == (True, True), found
        finally:
            device.kill()


def test_no_edge_tpu_at_all_from_a_stick(home, board, tmp_path):
    board(STAND_IN="none")
    stick = str(tmp_path / "stick")
    skerry(home, "release", "export", FIRST, "--target", "edgetpu", "-o", stick)
    device = provision(home, "coral-01", "mqtt://127.0.0.1:9", tmp_path / "device", BOARD)
    device.start()
    eventually(device.status, "the agent answers", 20.0)
    try:
        done = device.command("install", stick, "--json")
        assert done.returncode == 0, done.stderr + device.tail()
        assert json.loads(done.stdout)["outcome"] == "succeeded"
        assert_runs_on_the_cpu(device, "no Edge TPU is connected")
    finally:
        device.kill()
