"""A stand-in for systemd as an agent's service manager: starts it again whenever it has ended (Restart=always).

No tests here. As systemd does, it gives a socket for notifications, and ends with the main process all that is left of
the service, by a mark in the environment in place of a control group.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

PAUSE_S = 0.1


class Manager:
    """Runs `skerry-agent run` on a folder for ever, until `stop`."""

    def __init__(self, folder: Path, environment: dict[str, str], config: str = "agent.toml") -> None:
        self.folder, self.config = folder, config
        self.starts = 0
        self.ready = 0
        self.main_pids: set[int] = set()
        self.process: subprocess.Popen[bytes] | None = None
        self._mark = f"{os.getpid()}-{id(self)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0skerry-test-{self._mark}")
        self._socket.settimeout(0.2)
        self._environment = environment | {"NOTIFY_SOCKET": f"@skerry-test-{self._mark}", "SKERRY_UNIT": self._mark}
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._run)]

    def start(self) -> None:
        """From now on an agent runs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """And none from now on."""
        self._ends.set()
        self._kill_all()
        for thread in self._threads:
            thread.join(20)
        self._kill_all()
        self._socket.close()

    def kill(self) -> None:
        """Kill -9 of every process of the service."""
        self._kill_all()

    def _run(self) -> None:
        while not self._ends.is_set():
            command = [sys.executable, "-m", "skerry_agent", "run", "--config", self.config]
            with (self.folder / "agent.log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=self._environment)
            self.starts += 1
            self.main_pids.add(self.process.pid)
            self.process.wait()
            self._kill_all()
            time.sleep(PAUSE_S)

    def _listen(self) -> None:
        while not self._ends.is_set():
            try:
                if b"READY=1" in self._socket.recv(4096):
                    self.ready += 1
            except TimeoutError:
                continue
            except OSError:
                return

    def _kill_all(self) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def pids(self) -> list[int]:
        """Every process of the service, as its control group would have them."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    environment = (path / "environ").read_bytes()
                except OSError:
                    continue
                if f"SKERRY_UNIT={self._mark}".encode() in environment.split(b"\0"):
                    found.append(int(path.name))
        return found
