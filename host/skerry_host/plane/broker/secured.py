"""A broker with identities: mosquitto as two processes, operation and enrolment, and a third for the old way in.

Starts, reloads and ends them, and writes their access rules as it is told. Does not know who is revoked, nor whether a
reload had the effect that it should have: `skerry_host.plane.access` sees to both.
"""

import logging
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from skerry_agent.wire.broker_url import parse
from skerry_host.files import write_atomic
from skerry_host.identity.authority import KeyPair
from skerry_host.identity.files import PlaneFiles
from skerry_host.plane.broker import mosquitto_conf as conf
from skerry_host.plane.broker.access import TEXTS
from skerry_host.plane.broker.broker import MOST_FILES, Child, process_user, spawn_tethered
from skerry_host.plane.broker.canary import comes_in
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.listening import Opening, write_password_file
from skerry_host.plane.broker.mosquitto_conf import LOOPBACK, Bridge, Listening, TlsFiles
from skerry_host.plane.broker.rules import LIST, Rules
from skerry_host.plane.errors import BrokerError

log = logging.getLogger(__name__)

OPTIONS = {"mosquitto": "--port", "enrolment": "--enroll-port", "old": "--old-port"}
"""Of `skerry serve`, by the names of processes."""
BESIDE_AGAIN_S = 5.0
"""How long after a listener beside operation did not start that is tried again."""
OLD_HINT = "until the devices without an identity have one (`skerry device move --old-way`)"


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the three listeners; 0 is a free one."""

    operation: int
    enrolment: int
    old: int


class Process(Child):
    """One mosquitto, with a configuration that is written when it is started."""

    most_files = MOST_FILES
    """So many files it may open, connections among them, where the system allows that."""

    def __init__(self, program: str, name: str, at: Listening, text: Callable[[Listening], str]) -> None:
        super().__init__(at.port)
        self.at = Listening(at.folder.absolute(), self.port, at.addresses)
        self._program, self._name, self._text = program, name, text
        self.log_file = self.at.folder / f"{name}.log"
        self._again = 0.0

    def ensure_beside(self, now: float) -> bool:
        """As `ensure`, but what keeps it from starting is told, tried again later, and stops nobody else."""
        if self.pid is not None or now < self._again:
            return False
        try:
            return self.ensure()
        except (BrokerError, OSError) as error:
            self._again = now + BESIDE_AGAIN_S
            log.warning("the %s listener is closed, tried again in %.0f s: %s", self._name, BESIDE_AGAIN_S, error)
            return False

    def reload(self) -> None:
        """Have it read access rules and revocation list again; those who are connected stay so."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGHUP)

    def _spawn(self) -> subprocess.Popen[bytes]:
        file = self.at.folder / f"{self._name}.conf"
        write_atomic(file, self._text(self.at).encode(), mode=0o600)
        return spawn_tethered([self._program, "-c", str(file)], self.most_files)

    def _where_to_look(self) -> str:
        return f"see {self.log_file}, or choose another port with {OPTIONS[self._name]}"

    def _if_taken(self) -> str:
        return f"choose another with {OPTIONS[self._name]}"

    def _is_mine(self, command: str) -> bool:
        return str(self.at.folder) in command


class Secured:
    """The broker of a fleet with identities: `write` its rules before it is entered. Any thread may call it."""

    patience_s = 3.0
    """How long a reload may take to have its effect."""

    def __init__(self, program: str, folder: Path, files: PlaneFiles, ports: Ports, opened: Opening | None) -> None:
        self._folder, self.files, self._opened = folder.absolute(), files, opened
        self._lock = threading.RLock()
        self._program = program
        self.operation = self._process("mosquitto", ports.operation, self._operation_conf)
        self.enrolling = self._process("enrolment", ports.enrolment, self._enrolment_conf)
        self.enrolling.most_files = conf.MAX_ENROLLING + conf.OWN_FILES
        self.old = self._process("old", ports.old, self._old_conf)
        self._old_way: frozenset[str] = frozenset()
        self.url = f"mqtts://{LOOPBACK}:{self.operation.port}"
        host = opened.address if opened else LOOPBACK
        self.devices_url = f"mqtts://{host}:{self.operation.port}"
        self.enrolment_url: str | None = f"mqtts://{host}:{self.enrolling.port}"
        self.connection = self._as_plane(self.operation.port)
        self.enrolment: Connection | None = self._as_plane(self.enrolling.port)

    def content(self, rules: Rules) -> dict[str, bytes]:
        """The files of some rules."""
        return rules.files()

    def write(self, content: Mapping[str, bytes]) -> None:
        """Replace access rules and list; they are in force after `reload`, or a start."""
        for name, data in content.items():
            write_atomic(self._folder / name, data, mode=0o600)

    def written(self) -> dict[str, bytes]:
        """What `write` has written last, here or in a process of before."""
        names = (*TEXTS, LIST)
        return {name: (self._folder / name).read_bytes() for name in names if (self._folder / name).exists()}

    def reload(self, old_way: frozenset[str]) -> None:
        """Bring what is written into force; the old listener is there only for devices that come the old way.

        Whom that is open to is a matter of its rules; for a device that is new to it, it begins anew, because a bridge
        is given what is retained when it connects.
        """
        with self._lock:
            for process in (self.operation, self.enrolling, self.old):
                process.reload()
            if old_way - self._old_way or not old_way:
                self.old.close()
            self._old_way = old_way
            if old_way and self.old.ensure_beside(time.monotonic()) and self._opened:
                log.warning("the old listener is open at %s, unencrypted: %s", self._opened.address, OLD_HINT)

    def expel(self, stand_in: KeyPair) -> None:
        """End a session, with its subscriptions and what waits for it, by coming in its name: the later one stays.

        It may have a million subscriptions, at each of which the broker looks for every message of anybody.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stand-in.pem"
            write_atomic(file, stand_in.pem + stand_in.key_pem, mode=0o600)
            comes_in(replace(self.connection, cert=file, key=file))

    @property
    def listeners(self) -> dict[str, str]:
        """The URL of each listener that is open, by its kind."""
        found = {"operation": self.devices_url, "enrolment": self.enrolment_url or ""}
        if self.old.pid is not None:
            found["old"] = f"mqtt://{self._opened.address if self._opened else LOOPBACK}:{self.old.port}"
        return found

    def ensure(self) -> bool:
        """Start again what has died; True when that concerned devices in operation.

        Raises `BrokerError` for operation only: whoever takes the port of another listener ends neither rollouts nor
        revocations.
        """
        with self._lock:
            now = time.monotonic()
            self.enrolling.ensure_beside(now)
            again = self.operation.ensure()
            return (self.old.ensure_beside(now) if self._old_way else False) or again

    def _process(self, name: str, port: int, text: Callable[[Listening], str]) -> Process:
        addresses = (LOOPBACK, *([self._opened.address] if self._opened else ()))
        return Process(self._program, name, Listening(self._folder, port, addresses), text)

    def _as_plane(self, port: int) -> Connection:
        files = self.files
        return Connection(parse(f"mqtts://{LOOPBACK}:{port}"), None, None, files.ca, files.plane_cert, files.plane_key)

    def _operation_conf(self, at: Listening) -> str:
        return conf.operation_conf(at, self._tls(self.files.chain), process_user())

    def _enrolment_conf(self, at: Listening) -> str:
        return conf.enrolment_conf(at, self._tls(self.files.enrolment_chain), process_user())

    def _old_conf(self, at: Listening) -> str:
        own = self.files
        bridge = Bridge(self.operation.port, own.ca, own.old_cert, own.old_key, f"bridge-{secrets.token_hex(16)}")
        password = write_password_file(self._folder, self._opened) if self._opened else None
        return conf.old_conf(at, bridge, password, process_user())

    def _tls(self, chain: Path) -> TlsFiles:
        return TlsFiles(chain, self._folder / LIST, self.files.server_cert, self.files.server_key)

    def __enter__(self) -> Self:
        try:
            with self._lock:
                self.operation.ensure()
                self.enrolling.ensure()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._old_way = frozenset()
            for process in (self.old, self.enrolling, self.operation):
                process.close()
