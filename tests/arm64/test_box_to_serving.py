"""A board from its box to serving, in an emulated arm64 userland: no human, and no network but the broker's ports.

Real parts: the image folder as `skerry device claim` writes it, its first boot, a mosquitto that asks for certificates,
the wheels for aarch64. Left out: systemd, so the test starts the agent, and the hardware. Each test goes on where the
one before it has left the board.
"""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from tests.arm64.board import BOOT
from tests.arm64.fleet import DEVICE, await_release, await_status, full, rollout
from tests.kit.agents import agent_wheel
from tests.kit.commands import skerry
from tests.kit.wheels import Wheel, write_wheels
from tests.system.fleet import FIRST, SECOND, outcomes

pytestmark = pytest.mark.system

LITERT = "2.2.0"
"""Of ai-edge-litert, other than the one of the image."""


def older_litert(image, folder):
    """A wheelhouse of another ai-edge-litert for the board, with the rest of the image's wheels that it needs."""
    folder.mkdir()
    for name in ("numpy", "flatbuffers", "tqdm", "typing_extensions", "backports_strenum", "protobuf", "ml_dtypes"):
        for wheel in (image / "wheels").glob(f"{name}-*.whl"):
            shutil.copy(wheel, folder)
    tags = ["--platform", "manylinux_2_27_aarch64", "--python-version", "3.11", "--only-binary", ":all:", "--no-deps"]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *tags, "-d", str(folder), f"ai-edge-litert=={LITERT}"], check=True)
    lines = [
        "{}=={} --hash=sha256:{}".format(*wheel.name.split("-")[:2], hashlib.sha256(wheel.read_bytes()).hexdigest())
        for wheel in sorted(folder.glob("*.whl"))
    ]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")


def await_runtime(board, runtime):
    """Wait until the model runs with a runtime again; empty for the base environment's."""

    def runs(said):
        model = said["models"]["fashion"]
        return model["serving"] and model["state"] == "idle" and model["current"]["runtime"] == runtime

    await_status(board, runs, f"runs with {runtime or 'the base environment'}")


def test_the_first_boot_installs_everything_from_the_image_folder_and_once_only(board):
    said = board.run("sh", f"{BOOT}/first-boot.sh").stdout
    assert "environment: /opt/skerry, Python 3.11" in said
    assert not (board.root / BOOT[1:] / "claim.key").exists()
    again = board.run("sh", f"{BOOT}/first-boot.sh").stdout
    assert "is installed already" in again


def test_it_enrols_by_its_serial_number_and_serves_its_first_model(home, board):
    board.start_agent()
    await_status(board, lambda said: (said.get("identity") or {}).get("state") == "enrolled", "enrolled")
    assert outcomes(rollout(home, FIRST)) == {("succeeded", "")}, board.tail()
    await_release(board, FIRST)


@full
def test_a_patch_and_a_rollback(home, board):
    view = rollout(home, SECOND)
    assert outcomes(view) == {("succeeded", "")}, board.tail()
    (deployment,) = view["deployments"]
    assert deployment["transfer"] == "patch"
    skerry(home, "rollback", "--device", DEVICE)
    await_release(board, FIRST)


@full
def test_a_setting_is_kept_and_one_that_cuts_the_link_comes_back_by_itself(home, board):
    skerry(home, "group", "set", "lab", "telemetry_interval_s=30", "--wait")
    cut = skerry(home, "group", "set", "lab", "broker_url=mqtts://127.0.0.1:9", "--trial", "20", "--wait", check=False)
    assert cut.returncode == 1, cut
    shown = json.loads(skerry(home, "device", "settings", DEVICE, "--json").stdout)["settings"]
    assert shown["outcome"] == "rolled_back", shown
    await_status(board, lambda said: said["connected"] and said["models"]["fashion"]["serving"], "as before")


@full
def test_another_runtime_proves_itself_on_this_processor_and_a_rollback_brings_the_first_one_back(
    home, board, image, tmp_path
):
    older_litert(image, tmp_path / "wheels")
    skerry(home, "runtime", "create", str(tmp_path / "wheels"), "--name", "litert", "--version", LITERT)
    view = rollout(home, FIRST, "--runtime", f"litert@{LITERT}")
    assert outcomes(view) == {("succeeded", "")}, board.tail()
    model = await_release(board, FIRST)
    assert (model["current"]["runtime"], model["runtime"]["version"]) == (f"litert@{LITERT}", LITERT)
    skerry(home, "rollback", "--device", DEVICE)
    await_runtime(board, "")


@full
def test_a_runtime_that_dies_at_its_import_leaves_the_one_that_serves(home, board, tmp_path):
    dies = Wheel("ai-edge-litert", "9.0.0", {"ai_edge_litert/__init__.py": "import os; os.kill(os.getpid(), 4)\n"})
    write_wheels(tmp_path / "wheels", dies)
    where = ("--machine", "aarch64", "--python", "cp311")
    skerry(home, "runtime", "create", str(tmp_path / "wheels"), "--name", "litert", "--version", "9.0.0", *where)
    view = rollout(home, FIRST, "--runtime", "litert@9.0.0")
    ((outcome, reason),) = outcomes(view)
    assert (outcome, reason) == ("failed", "runtime_crashed"), view
    assert "SIGILL" in view["deployments"][0]["detail"]
    await_runtime(board, "")


@full
def test_the_agent_upgrades_itself_and_serves_its_model_as_before(home, board, tmp_path):
    write_wheels(tmp_path / "wheels", agent_wheel("9.1.0"))
    where = ("--machine", "aarch64", "--python", "cp311", "--kind", "agent")
    skerry(home, "runtime", "create", str(tmp_path / "wheels"), "--name", "agent", "--version", "9.1.0", *where)
    view = rollout(home, "agent@9.1.0")
    assert outcomes(view) == {("succeeded", "")}, board.tail()
    await_status(board, lambda said: said["version"] == "9.1.0", "the other agent runs")
    await_release(board, FIRST)


@full
def test_an_agent_that_dies_gives_way_to_the_one_before(home, board, tmp_path):
    faulty = agent_wheel("9.2.0", cli__run="import sys\nif sys.argv[1:2] == ['run']:\n    raise ImportError('gone')")
    write_wheels(tmp_path / "wheels", faulty)
    where = ("--machine", "aarch64", "--python", "cp311", "--kind", "agent")
    skerry(home, "runtime", "create", str(tmp_path / "wheels"), "--name", "agent", "--version", "9.2.0", *where)
    ((outcome, reason),) = outcomes(rollout(home, "agent@9.2.0"))
    assert (outcome, reason) == ("rolled_back", "agent_died"), board.tail()
    await_status(board, lambda said: said["version"] == "9.1.0", "the one before runs")
    await_release(board, FIRST)


@full
def test_after_a_power_cut_it_serves_what_it_served(board):
    board.power_off()
    board.power_on()
    board.start_agent()
    await_release(board, FIRST)
    await_status(board, lambda said: said["connected"], "connected")
