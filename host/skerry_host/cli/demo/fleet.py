"""The processes of the demo: `skerry` commands, the host plane, the agents. All of them end with the demo."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skerry_agent.wire.errors import SkerryError
from skerry_host.plane.broker.broker import find_mosquitto

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class DemoError(SkerryError):
    """The demo could not go on."""

    code = "demo"


class Host:
    """The `skerry` command on a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._skerry = [sys.executable, "-m", "skerry_host.cli", "--home", str(home)]

    def run(self, *arguments: str, may_fail: bool = False) -> Any:
        """Run a command with --json; its parsed output."""
        done = subprocess.run([*self._skerry, *arguments, "--json"], capture_output=True, text=True, check=False)
        if done.returncode and not may_fail:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise DemoError(f"`skerry {' '.join(arguments[:2])}` failed: {' '.join(last)}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and let it work in the background, at a low priority."""
        command = ["nice", *self._skerry, *arguments, "--json"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    @contextlib.contextmanager
    def serving(self, log: Path) -> Iterator[dict[str, Any]]:
        """Run `skerry serve`, with identities where there is a broker for them; yields the addresses it announced."""
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*self._skerry, *serve_command(find_mosquitto())],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            with stopping(process):
                assert process.stdout is not None
                announced = "".join(iter(process.stdout.readline, "}\n"))
                if process.poll() is not None:
                    raise DemoError("`skerry serve` did not start", hint=_last_line(log))
                yield json.loads(announced + "}")


def serve_command(mosquitto: str | None) -> list[str]:
    """`serve` on free ports; without identities where no broker is there that knows devices by their certificates."""
    ports = [word for name in ("port", "enroll-port", "old-port", "http-port") for word in (f"--{name}", "0")]
    return ["serve", *ports, *([] if mosquitto else ["--plain"]), "--json"]


class Agent:
    """One `skerry-agent` process and its folder."""

    def __init__(self, device: str, folder: Path) -> None:
        self.device = device
        self.config = folder / "agent.toml"
        self._log = folder / "agent.log"
        self._agent = [sys.executable, "-m", "skerry_agent"]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it."""
        with self._log.open("w") as log:
            process = subprocess.Popen([*self._agent, "run", "--config", str(self.config)], stdout=log, stderr=log)
            with stopping(process):
                yield

    def status(self, *, connected: bool = False) -> dict[str, Any]:
        """What `skerry-agent status --json` says, once it is `connected` if that is asked for.

        Raises `DemoError` when the agent does not come up.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        command = [*self._agent, "status", "--json", "--config", str(self.config)]
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
            if status and (status["connected"] or not connected):
                return status
            if time.monotonic() > deadline:
                why = status.get("why_offline") or done.stderr.strip()
                raise DemoError(f"agent {self.device} does not come up: {why}", hint=_last_line(self._log))
            time.sleep(0.3)


@contextlib.contextmanager
def stopping(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process with the block: terminated, and killed if that does not help."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"{log} is empty"
