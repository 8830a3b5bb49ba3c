"""A board from its box to serving, in an emulated arm64 userland: no human, and no network but the broker's ports.

Real parts: the image folder as `skerry device claim` writes it, its first boot, a mosquitto that asks for certificates,
the wheels for aarch64. Left out: systemd, so the test starts the agent, and the hardware. Each test goes on where the
one before it has left the board.
"""

import json

import pytest

from tests.arm64.board import BOOT
from tests.arm64.fleet import DEVICE, await_release, await_status, full, rollout
from tests.kit.commands import skerry
from tests.system.fleet import FIRST, SECOND, outcomes

pytestmark = pytest.mark.system


def test_the_first_boot_installs_everything_from_the_image_folder_and_once_only(board):
    said = board.run("sh", f"{BOOT}/first-boot.sh").stdout
    assert "environment: /opt/skerry, Python 311" in said
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
def test_after_a_power_cut_it_serves_what_it_served(board):
    board.power_off()
    board.power_on()
    board.start_agent()
    await_release(board, FIRST)
    await_status(board, lambda said: said["connected"], "connected")
