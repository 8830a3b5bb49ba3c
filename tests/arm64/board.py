"""An emulated board: Debian for arm64 in namespaces of its own, run by qemu-user. No tests here.

What it writes lies in an overlay above the root that `scripts/setup-aarch64` made, so each board begins as a fresh one
and keeps its disk over a power cut. It has no network but ports of this machine that are passed on to it. Slow: an
emulated program takes ten to thirty times as long.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kit.waiting import eventually

ROOT = Path(__file__).parents[2]
APART = ROOT / ".venv" / "aarch64"
LOWER = APART / "root"
CPU = "cortex-a72"
PATIENCE_S = 240.0
BOOT = "/boot/firmware/skerry"
"""Where the image folder lies on the board."""
AGENT = "/opt/skerry/bin/skerry-agent"
CONFIG = "/etc/skerry/agent.toml"
STATE = "/var/lib/skerry"

_MOUNTS = """
set -e
ip link set lo up
mount -t overlay overlay -o lowerdir="$1",upperdir="$2/disk",workdir="$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --bind "$1/proc/cpuinfo" "$2/root/proc/cpuinfo"
mount -t tmpfs tmpfs "$2/root/run"
echo ready
exec sleep infinity
"""


def missing() -> str | None:
    """Why there is no emulated board here; None where there is."""
    if os.geteuid() != 0:
        return "an emulated board needs root"
    if not (LOWER / ".whole").exists():
        return "no arm64 root: scripts/setup-aarch64"
    tools = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    return f"{', '.join(tools)} not installed" if tools else None


class EmulatedBoard:
    """One board with a serial number: its disk, and the programs on it."""

    def __init__(self, folder: Path, serial: str, ports: tuple[int, ...] = ()) -> None:
        self.folder, self.serial, self._ports = folder, serial, ports
        for part in ("disk", "work", "root"):
            (folder / part).mkdir(parents=True)
        tree = folder / "disk/sys/firmware/devicetree/base"
        tree.mkdir(parents=True)
        (tree / "serial-number").write_bytes(serial.encode() + b"\0")
        self._holder: subprocess.Popen[str] | None = None
        self._relays: list[subprocess.Popen[bytes]] = []
        self.agent: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """The board's file system, as root of this machine sees it; it is there while the board is not."""
        return self.folder / "disk"

    @property
    def log(self) -> Path:
        """What the agent says, over all its starts."""
        return self.folder / "agent.log"

    def power_on(self) -> None:
        """Mount the disk and connect the ports; starts no program of the board."""
        spaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]
        command = [*spaces, "sh", "-c", _MOUNTS, "sh", str(LOWER), str(self.folder)]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "the board's disk is not mounted"
        for port in self._ports:
            self._pass_on(port)

    def _pass_on(self, port: int) -> None:
        path = self.folder / f"{port}.sock"
        relay = [sys.executable, str(ROOT / "tests/kit/relay.py")]
        self._relays.append(subprocess.Popen([*relay, f"unix:{path}", f"tcp:{port}"]))
        eventually(path.exists, f"{path}", 10.0)
        self._relays.append(subprocess.Popen([*self._inside("-n"), *relay, f"tcp:{port}", f"unix:{path}"]))

    def power_off(self) -> None:
        """As when somebody pulls the plug: every process of the board ends at once; the disk stays."""
        for relay in self._relays:
            relay.kill()
            relay.wait(10)
        self._relays.clear()
        if self._holder is not None:
            os.kill(self._sleeper(), signal.SIGKILL)  # the first process of its namespace: all others end with it
            self._holder.wait(10)
            assert self._holder.stdout is not None
            self._holder.stdout.close()
            self._holder = None
        if self.agent is not None:
            self.agent.wait(10)
            self.agent = None

    def run(self, *command: str, check: bool = True, timeout_s: float = 600.0) -> "subprocess.CompletedProcess[str]":
        """Run a program on the board."""
        done = subprocess.run(
            [*self._board(), *command], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done

    def insert(self, image: Path) -> None:
        """Put an image folder where the board's boot partition has it."""
        shutil.copytree(image, self.root / BOOT[1:])

    def start_agent(self) -> None:
        """Start the agent as its service does, whenever it has ended; systemd's other parts are left out."""
        with self.log.open("ab") as log:
            agent = f"STATE_DIRECTORY={STATE} {AGENT} run --config {CONFIG}"
            command = [*self._board(), "sh", "-c", f"while :; do {agent}; sleep 2; done"]
            self.agent = subprocess.Popen(command, stdout=log, stderr=log)

    def status(self) -> dict[str, Any]:
        """What `skerry-agent status` says; nothing while no agent answers."""
        done = self.run(AGENT, "status", "--config", CONFIG, "--json", check=False)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def tail(self) -> str:
        """The last words of the agent."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    def _sleeper(self) -> int:
        """The first process in the board's namespaces."""
        assert self._holder is not None
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        return int(children.split()[0])

    def _inside(self, *spaces: str) -> list[str]:
        return ["nsenter", "--target", str(self._sleeper()), *spaces]

    def _board(self) -> list[str]:
        chroot = ["chroot", str(self.folder / "root"), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return [*self._inside("--mount", "--pid", "--net"), *chroot, f"QEMU_CPU={CPU}", "HOME=/root"]
