"""From the image folder to serving, on this machine's own kind of board: the agent runs out of what first-boot.sh made.

What needs another processor is `make test-arm64`. Here no systemd runs, so the agent is started by the test.
"""

import os
import subprocess
from pathlib import Path

import pytest

from skerry_agent.state.identity import IdentityStore
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.images import first_boot, here
from tests.kit.real_wheels import system_here, with_wheels
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, RECIPE, SECOND, Device, await_end, outcomes, running, start_rollout

pytestmark = pytest.mark.system


class Board(Device):
    """A board whose disk is a folder."""

    def __init__(self, image: Path, disk: Path) -> None:
        done = first_boot(image, disk)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        super().__init__("edge-01", disk / "etc" / "skerry")
        self.disk, self.said = disk, done.stdout
        text = self.config.read_text()
        for path in ("/var/lib/skerry", "/usr/share/skerry/factory"):
            assert f'"{path}"' in text
            text = text.replace(f'"{path}"', f'"{disk}{path}"')
        self.config.write_text(text)
        self.configure("agent", "beat_s = 0.2")
        text = self.config.read_text().replace("telemetry_interval_s = 60.0", "telemetry_interval_s = 1.0")
        source = f'[[models.fashion.sources]]\ntype = "replay"\npath = "{RECIPE / "evaluation.npz"}"\nrate_hz = 100.0\n'
        self.config.write_text(f"{text}\n[models.fashion]\n{source}")

    @property
    def state(self) -> Path:
        return self.disk / "var" / "lib" / "skerry"

    @property
    def program(self) -> Path:
        return self.disk / "opt" / "skerry" / "bin" / "skerry-agent"

    def start(self) -> None:
        """As the service does: with nothing of the checkout."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with (self.folder / "agent.log").open("ab") as log:
            command = [str(self.program), "run", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.disk, env=own)


def identity(device: Device) -> dict:
    return (device.status() or {}).get("identity") or {}


def test_from_the_image_folder_to_serving_and_a_second_board_of_it_is_refused(home, tmp_path):
    image = tmp_path / "image"
    with serving(with_wheels(home), WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http"):
        given = ("--board", here().name, "--os", system_here().name, "--factory", FIRST, "--out", str(image))
        skerry(home, "device", "provision", "edge-01", *given)
        board = Board(image, tmp_path / "disk")
        assert f"factory release: fashion in {board.disk}/usr/share/skerry/factory" in board.said
        with running(board):
            board.start()
            board.await_serving(FIRST)
            eventually(lambda: IdentityStore(board.state).current(), f"enrolled: {board.tail()}", 20.0)
            assert outcomes(await_end(home, start_rollout(home, SECOND, "edge-01"))) == {("succeeded", "")}
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "opt").symlink_to(board.disk / "opt")  # it takes seconds to install
        other = Board(image, tmp_path / "other")
        with running(other):
            other.start()
            other.await_serving(FIRST)
            eventually(lambda: identity(other).get("state") == "refused", f"refused: {other.tail()}", 20.0)
            assert "as many boards as this claim is for have enrolled" in identity(other)["detail"]
