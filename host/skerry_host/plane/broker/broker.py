"""Gives the plane a broker: mosquitto with a generated configuration, the embedded wheel, or one that runs elsewhere.

Brokers that are started here end when this process does, however that ends. These listen on loopback, without TLS or
passwords; `secured` starts the one for devices with identities. Speaks no MQTT: `link` does.
"""

import contextlib
import logging
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol, Self

import msgspec

from skerry_host import children
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.mosquitto_conf import LOOPBACK, MAX_MESSAGE_BYTES, Listening, plain_conf
from skerry_host.plane.broker.port_holder import holder
from skerry_host.plane.errors import BrokerError

log = logging.getLogger(__name__)

START_S = 10.0
STOP_S = 5.0
MOST_FILES = 65_536
"""Open files of a broker, nearly all of them connections, where the system allows so many."""
MOST_LOG_BYTES = 10 * 1024 * 1024
LOWEST_PORT = 15_000
"""Below are ports that other services are found at."""
FEWEST_PORTS = 1_000
CLIENT_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
CLIENT_PORTS_USUALLY = 32_768


class Broker(Protocol):
    """A broker while it is entered: its URL for the plane, and that for devices; neither has a password in it.

    `connection` is the plane's own way in, `enrolment` that to the listener for enrolment, where there is one.
    """

    url: str
    devices_url: str
    connection: Connection
    enrolment: Connection | None
    enrolment_url: str | None

    def ensure(self) -> bool:
        """Start it again if it has died; True when it had to be."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class External:
    """A broker that somebody else runs, by its address, and that of its enrolment listener, if it has one."""

    def __init__(self, where: Connection | str, enrolment: Connection | None = None) -> None:
        self.connection = where if isinstance(where, Connection) else Connection.of(where)
        self.enrolment = enrolment
        self.enrolment_url = str(enrolment.url) if enrolment else None
        self.url = self.devices_url = str(self.connection.url)

    def ensure(self) -> bool:
        """Nothing that could be done from here."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Child:
    """A broker as a child process on a port, of loopback at least."""

    enrolment: Connection | None = None
    enrolment_url: str | None = None
    log_file: Path | None = None

    def __init__(self, port: int, patience_s: float = STOP_S) -> None:
        self.port = port or free_port()
        self._patience_s = patience_s
        self.url = self.devices_url = f"mqtt://{LOOPBACK}:{self.port}"
        self.connection = Connection.of(self.url)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def ensure(self) -> bool:
        """Start it again if it has died; True when it had to be. Called often, it also bounds the log."""
        if self.log_file is not None:
            bound_log(self.log_file)
        if self.pid is not None:
            return False
        self._start()
        return True

    def _start(self) -> None:
        self._await_free()
        self._process = self._spawn()
        deadline = time.monotonic() + START_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise BrokerError(f"the broker did not start on port {self.port}", hint=self._where_to_look())
            time.sleep(0.02)

    def _await_free(self) -> None:
        """Wait while a predecessor that was killed gives its port back, and say at once that this waits.

        Raises `BrokerError` when it stays taken, and at once when it is seen to be another program's.
        """
        if _is_free(self.port):
            return
        who = holder(self.port)
        if who is not None and not self._is_mine(who.command):
            raise self._taken(str(who))
        by, patience_s = who or "another program", self._patience_s
        log.warning("port %d is still used by %s: waiting up to %.0f s for it", self.port, by, patience_s)
        deadline = time.monotonic() + patience_s
        while not _is_free(self.port):
            if time.monotonic() > deadline:
                raise self._taken(str(by))
            time.sleep(0.1)

    def _taken(self, who: str) -> BrokerError:
        return BrokerError(f"port {self.port} is used by {who}", hint=self._if_taken(), code="port_taken")

    def _if_taken(self) -> str:
        return f"use it with --broker mqtt://{LOOPBACK}:{self.port}, or choose another with --port"

    def close(self) -> None:
        """End it, in order if it can."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _where_to_look(self) -> str:
        raise NotImplementedError

    def _is_mine(self, command: str) -> bool:
        """Whether a process with this command line is the broker that a plane of before has started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mosquitto(Child):
    """Eclipse Mosquitto, with its retained messages kept in `folder`."""

    def __init__(self, folder: Path, port: int, program: str) -> None:
        super().__init__(port)
        self._folder = folder.absolute()
        self._program = program
        self.log_file = self._folder / "mosquitto.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "mosquitto.conf"
        text = plain_conf(Listening(self._folder, self.port), process_user())
        configuration.write_text(text, encoding="utf-8")
        return spawn_tethered([self._program, "-c", str(configuration)])

    def _where_to_look(self) -> str:
        return f"see {self.log_file}, or choose another with --port"

    def _is_mine(self, command: str) -> bool:
        return str(self._folder) in command


class Embedded(Child):
    """rumqttd out of the iotcore wheel: for --plain where no mosquitto is. Forgets what was retained when it ends."""

    def _spawn(self) -> subprocess.Popen[bytes]:
        return _embedded_process(self.port)

    def _where_to_look(self) -> str:
        return "choose another port with --port, or install mosquitto"

    def _is_mine(self, command: str) -> bool:
        return "iotcore._serve" in command


def spawn_tethered(command: list[str], most_files: int = MOST_FILES) -> subprocess.Popen[bytes]:
    """Run a program that the kernel ends with this process, even on kill -9, where `setpriv` is there for it."""
    tether = shutil.which("setpriv")
    if tether:
        command = [tether, "--pdeathsig", "TERM", "--", *command]
    env, silent = children.environment(), subprocess.DEVNULL
    started = subprocess.Popen(command, env=env, stdin=silent, stdout=silent, stderr=silent)
    _allow_files(started.pid, most_files)
    return started


def _allow_files(pid: int, most: int) -> None:
    """Let a broker have so many connections, where it may: with the usual 1,024 anybody could take all of them."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        allowed = most if hard == resource.RLIM_INFINITY else min(hard, most)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (allowed, hard))


def bound_log(file: Path, most: int = MOST_LOG_BYTES) -> None:
    """Begin a log anew that has grown too long, and keep the one before: whoever connects in vain writes a line.

    The broker goes on in the same file: it appends.
    """
    with contextlib.suppress(OSError):
        if file.stat().st_size > most:
            shutil.copyfile(file, file.with_name(f"{file.name}.1"))
            os.truncate(file, 0)


def find_mosquitto() -> str | None:
    """The program, also where Debian keeps it outside a user's PATH."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def choose(
    folder: Path, url: Connection | str | None, port: int, find: Callable[[], str | None] = find_mosquitto
) -> Broker:
    """The broker at `url`, else mosquitto where `find` finds it, else the embedded one; `port` 0 picks a free one."""
    if url:
        return External(url)
    program = find()
    return Mosquitto(folder, port, program) if program else Embedded(port)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, outside the range that the kernel takes for clients.

    Within that range a client that tries to connect again and again, as every device does, is sooner or later given the
    very port that it calls: it is then connected to itself, and the broker cannot listen there any more.
    """
    ports = range(LOWEST_PORT, _first_client_port())
    return next(port for port in random.sample(ports, len(ports)) if _is_free(port))


def _first_client_port() -> int:
    try:
        first = int(CLIENT_PORTS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return CLIENT_PORTS_USUALLY
    return first if first - LOWEST_PORT >= FEWEST_PORTS else CLIENT_PORTS_USUALLY


def process_user() -> str | None:
    """Whom a broker goes on as where this runs as root: another user could not write below the home."""
    return "root" if os.geteuid() == 0 else None


def _embedded_process(port: int) -> subprocess.Popen[bytes]:
    """The wheel's own child entry: it ends when its standard input closes, so also when this process is killed."""
    options = {"listen": LOOPBACK, "port": port, "max_payload_size": MAX_MESSAGE_BYTES, "max_inflight_count": 1000}
    command = [sys.executable, "-m", "iotcore._serve", msgspec.json.encode(options).decode()]
    env, silent = children.environment(), subprocess.DEVNULL
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=silent, stderr=silent)


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _accepts(port: int) -> bool:
    try:
        with closing(socket.create_connection((LOOPBACK, port), timeout=0.5)):
            return True
    except OSError:
        return False
