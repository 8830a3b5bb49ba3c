"""A board from its box to serving, in an emulated arm64 userland: no human, and no network but the broker's ports.

Real parts: the image folder as `skerry device claim` writes it, its first boot, a mosquitto that asks for certificates,
the wheels for aarch64. Left out: systemd, so the test starts the agent, and the hardware.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry_host.home import Home
from tests.arm64.board import BOOT, PATIENCE_S, EmulatedBoard
from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, SECOND, outcomes

pytestmark = pytest.mark.system

SERIAL, DEVICE, OS = "10000000abcd1234", "edge-01", "raspberry-pi-os-bookworm"


def image_of(home: Home, folder: Path) -> Path:
    """The image folder for one board that is in the records by its serial number."""
    batch = folder / "boards.csv"
    batch.write_text(f"id,board,tags,serial\n{DEVICE},raspberry-pi-4,lab,{SERIAL}\n")
    skerry(home, "device", "claim", "--batch", str(batch), "--os", OS, "--out", str(folder / "image"))
    return folder / "image"


def first_boot(board: EmulatedBoard) -> str:
    """Run what the image runs at the first start; what it printed."""
    return board.run("sh", f"{BOOT}/first-boot.sh").stdout


def await_status(board: EmulatedBoard, right: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Wait until the board's own status is `right`."""
    seen: dict[str, Any] = {}

    def is_right() -> bool:
        seen.clear()
        seen.update(board.status())
        return bool(seen) and right(seen)

    eventually(is_right, f"{what}: {seen} {board.tail()}", PATIENCE_S)
    return seen


def rollout(home: Home, release: str, *options: str) -> dict[str, Any]:
    """Order a release of the group and wait for the end; how it ended."""
    started = skerry(home, "rollout", "start", release, "--device", DEVICE, *options, "--json")
    name, view = json.loads(started.stdout)["rollout"], {}

    def ended() -> bool:
        view.update(json.loads(skerry(home, "rollout", "status", name, "--json").stdout))
        return bool(view["ended"])

    eventually(ended, f"the end of {name}: {view}", PATIENCE_S)
    return view


def test_first_boot_enrolment_first_model_patch_and_rollback(home, plane, new_board, tmp_path):
    board = new_board(SERIAL)
    board.insert(image_of(home, tmp_path))
    first_boot(board)
    board.start_agent()
    await_status(board, lambda said: (said.get("identity") or {}).get("state") == "enrolled", "enrolled")

    view = rollout(home, FIRST)
    assert outcomes(view) == {("succeeded", "")}, board.tail()
    view = rollout(home, SECOND)
    assert outcomes(view) == {("succeeded", "")}, board.tail()
    (deployment,) = view["deployments"]
    assert deployment["transfer"] == "patch"

    skerry(home, "rollback", "--device", DEVICE)
    await_status(board, lambda said: said["models"]["fashion"]["current"]["release"] == FIRST, "rolled back")
