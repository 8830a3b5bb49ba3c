"""What the system tests stand on: releases built once, devices as real processes, a broker that can be restarted.

No tests here. A `Device` is a folder and the `skerry-agent` on it, which can be killed at its N-th journal write.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from skerry_agent.machine.records import Record
from skerry_host.home import Home
from tests.kit.commands import skerry
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "models" / "fashion"
BOARD = "generic-x86"
FIRST, SECOND, BAD = "fashion@1.0.0", "fashion@1.1.0", "fashion@1.3.0"
PATIENCE_S = 40.0
NOWHERE = "mqtt://127.0.0.1:9"
"""An address at which no broker answers."""
MARK = "SKERRY_TEST_MARK"


def marked_processes(mark: str) -> list[str]:
    """Command lines of the processes that carry the mark of a test in their environment, this one left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                environment = (folder / "environ").read_bytes()
                line = (folder / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0") and line:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


@dataclass
class Device:
    """One device: its folder, the agent that runs on it or not, and what its environment has beyond ours."""

    id: str
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def journal(self) -> Path:
        return self.state / "models" / "fashion" / "journal.json"

    def configure(self, section: str, lines: str) -> None:
        """Add lines to a section of agent.toml."""
        text = self.config.read_text()
        assert f"[{section}]" in text
        self.config.write_text(text.replace(f"[{section}]", f"[{section}]\n{lines}", 1))

    def start(self, *, kill_at_journal_write: int | None = None) -> None:
        """Run the agent; killed (-9) as it is about to make its N-th journal record the newest, if N is given."""
        command = [sys.executable, "-m", "skerry_agent", "run", "--config", str(self.config)]
        if kill_at_journal_write is not None:
            strace = require_program("strace", "strace")
            fault = f"inject=rename:signal=KILL:when={kill_at_journal_write}"
            written = str(self.journal.with_name(".journal.json.tmp"))
            command = [
                strace,
                "-D",
                "-qq",
                "-o",
                "/dev/null",
                "-P",
                written,
                "-e",
                "trace=rename",
                "-e",
                fault,
                *command,
            ]
        with (self.folder / "agent.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)

    def await_death(self) -> None:
        """Wait until the agent has been killed."""
        assert self.process is not None
        self.process.wait(PATIENCE_S)
        self.process = None

    def kill(self) -> None:
        """As a power cut would: -9."""
        if self.process is not None:
            self.process.kill()
            self.await_death()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        self.process = None
        return code

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a `skerry-agent` command on this device."""
        command = [sys.executable, "-m", "skerry_agent", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def status(self) -> dict[str, Any] | None:
        """What `skerry-agent status` says; None while no agent answers."""
        done = self.command("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def record(self) -> Record:
        """What the journal says."""
        return msgspec.json.decode(self.journal.read_bytes().split(b"\n", 1)[1], type=Record)

    def state_name(self) -> str:
        """The machine's state, by the journal."""
        try:
            return self.record().state.value
        except (OSError, IndexError, msgspec.MsgspecError):
            return "none"

    def await_serving(self, release: str) -> dict[str, Any]:
        """Wait until it is idle and serves `release`; its status."""
        found: dict[str, Any] = {}

        def serving() -> bool:
            status = self.status() or {}
            model = status.get("models", {}).get("fashion", {})
            found.clear()
            found.update(status)
            right = (model.get("current") or {}).get("release") == release
            return right and bool(model.get("serving")) and model.get("state") == "idle"

        eventually(serving, f"{self.id} serves {release}; {self.tail()}", PATIENCE_S)
        return found

    def tail(self) -> str:
        """The last words of its log."""
        log = self.folder / "agent.log"
        return log.read_text(errors="replace")[-400:] if log.exists() else ""

    def bundles(self) -> set[str]:
        """Folders of bundles on its disk."""
        return {path.name for path in (self.state / "bundles").iterdir()}

    def slots(self) -> tuple[str, str | None]:
        """The releases in its current and previous slots."""
        found = self.record().slots
        assert found.current is not None
        return found.current.release, found.previous.release if found.previous else None

    def held(self) -> set[str]:
        """Folders of bundles that its journal knows."""
        slots = self.record().slots
        return {slot.bundle for slot in (slots.current, slots.previous, slots.candidate) if slot is not None}


def build_releases(home: Home, folder: Path, latency_p95_us: int = 500_000) -> None:
    """fashion 1.0.0 and 1.1.0, and 1.3.0: as good as 1.1.0 on the host, too slow for any device.

    The good ones may be as slow as a machine makes them that runs other tests beside this one.
    """
    patient, hasty = _recipe(folder / "patient", latency_p95_us), _recipe(folder / "hasty", 1)
    for source, version, release in ((patient, "1.0.0", FIRST), (patient, "1.1.0", SECOND), (hasty, "1.1.0", BAD)):
        out = folder / f"build-{release}"
        skerry(home, "model", "build", str(source), "--board", BOARD, "--version", version, "--out", str(out))
        skerry(home, "release", "create", str(out), "--version", release.partition("@")[2])


def _recipe(folder: Path, latency_p95_us: int) -> Path:
    """The recipe of fashion with another latency budget."""
    shutil.copytree(RECIPE, folder)
    text = (folder / "recipe.toml").read_text()
    changed, count = re.subn(r"(?m)^latency_p95_us = \d+$", f"latency_p95_us = {latency_p95_us}", text)
    assert count == 1
    (folder / "recipe.toml").write_text(changed)
    return folder


def provision(home: Home, name: str, broker: str | None, folder: Path, board: str = BOARD) -> Device:
    """Enrol a device that looks at the held-out samples, fast, and says how it is five times a second.

    Without a broker it is that of the plane that runs.
    """
    where = ["--broker", broker] if broker else []
    skerry(home, "device", "provision", name, "--board", board, *where, "--config-only", "--out", str(folder))
    device = Device(name, folder)
    device.configure("agent", "beat_s = 0.2")
    text = device.config.read_text().replace("telemetry_interval_s = 60.0", "telemetry_interval_s = 1.0")
    source = f'type = "replay"\npath = "{RECIPE / "evaluation.npz"}"\nrate_hz = 100.0\n'
    device.config.write_text(f"{text}\n[models.fashion]\n[[models.fashion.sources]]\n{source}")
    return device


def provision_installed(home: Home, broker: str | None, installed: Path, folder: Path) -> Device:
    """A device that holds what was installed on another; not started yet."""
    device = provision(home, "shelf-01", broker, folder)
    shutil.copytree(installed, device.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
    return device


def start_rollout(home: Home, release: str, device: str, *more: str) -> str:
    """Order a release; the rollout's id. `more` are devices, or options with their values."""
    options = [*more] if more and more[0].startswith("--") else [part for name in more for part in ("--device", name)]
    done = skerry(home, "rollout", "start", release, "--device", device, *options, "--json")
    return str(json.loads(done.stdout)["rollout"])


def await_end(home: Home, rollout: str) -> dict[str, Any]:
    """Wait until a rollout has ended; how."""
    view: dict[str, Any] = {}

    def ended() -> bool:
        view.update(json.loads(skerry(home, "rollout", "status", rollout, "--json").stdout))
        return bool(view["ended"])

    eventually(ended, f"the end of {rollout}: {view}", PATIENCE_S)
    return view


def outcomes(view: dict[str, Any]) -> set[tuple[str, str]]:
    """(outcome, reason) of every deployment of a rollout."""
    return {(d["outcome"], d["reason"]) for d in view["deployments"]}


class Broker:
    """A mosquitto of our own on a fixed port, that can be killed and started again."""

    def __init__(self, folder: Path, port: int, *, persistent: bool) -> None:
        self._program = require_program("mosquitto", "mosquitto")
        self.url = f"mqtt://127.0.0.1:{port}"
        folder.mkdir(parents=True)
        self._conf = folder / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", f"persistence {str(persistent).lower()}"]
        lines += [f"persistence_location {folder}/", "user root", "log_dest none", "max_queued_messages 100000"]
        self._conf.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it."""
        self._process = subprocess.Popen([self._program, "-c", str(self._conf)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it in order, so that one with persistence writes what it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def restart(self, pause_s: float = 0.3) -> None:
        """End it, and start it again after a pause."""
        self.stop()
        time.sleep(pause_s)
        self.start()


@contextmanager
def running(*parts: "Device | Broker") -> Iterator[None]:
    """Whatever happens, none outlives the block."""
    try:
        yield
    finally:
        for part in parts:
            if isinstance(part, Device):
                part.kill()
            else:
                part.stop()
