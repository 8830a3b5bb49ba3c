"""A broker with identities: mosquitto as two processes, operation and enrolment, and a third for the old way in.

Starts, reloads and ends them, and writes their access rules as it is told. Does not know who is revoked, nor whether a
reload had the effect that it should have: `skerry_host.plane.access` sees to both.
"""

import logging
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from skerry_agent.wire.broker_url import parse
from skerry_host.files import write_atomic
from skerry_host.identity.files import PlaneFiles
from skerry_host.plane.broker import mosquitto_conf as conf
from skerry_host.plane.broker.access import TEXTS
from skerry_host.plane.broker.broker import Child, spawn_tethered
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.listening import Opening, write_password_file
from skerry_host.plane.broker.mosquitto_conf import LOOPBACK, Bridge, Listening, TlsFiles
from skerry_host.plane.broker.rules import LIST, Rules

log = logging.getLogger(__name__)

OLD_HINT = "until the devices without an identity have one (`skerry device move --old-way`)"


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the three listeners; 0 is a free one."""

    operation: int
    enrolment: int
    old: int


class Process(Child):
    """One mosquitto, with a configuration that is written when it is started."""

    def __init__(self, program: str, name: str, at: Listening, text: Callable[[Listening], str]) -> None:
        super().__init__(at.port)
        self.at = Listening(at.folder.absolute(), self.port, at.addresses)
        self._program, self._name, self._text = program, name, text

    def reload(self) -> None:
        """Have it read access rules and revocation list again; those who are connected stay so."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGHUP)

    def _spawn(self) -> subprocess.Popen[bytes]:
        file = self.at.folder / f"{self._name}.conf"
        write_atomic(file, self._text(self.at).encode(), mode=0o600)
        return spawn_tethered([self._program, "-c", str(file)])

    def _where_to_look(self) -> str:
        return f"see {self.at.folder / f'{self._name}.log'}, or choose another port"

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
            if old_way and self.old.ensure() and self._opened:
                log.warning("the old listener is open at %s, unencrypted: %s", self._opened.address, OLD_HINT)

    @property
    def listeners(self) -> dict[str, str]:
        """The URL of each listener that is open, by its kind."""
        found = {"operation": self.devices_url, "enrolment": self.enrolment_url or ""}
        if self.old.pid is not None:
            found["old"] = f"mqtt://{self._opened.address if self._opened else LOOPBACK}:{self.old.port}"
        return found

    def ensure(self) -> bool:
        """Start again what has died; True when that concerned devices in operation."""
        with self._lock:
            self.enrolling.ensure()
            again = self.operation.ensure()
            return (self.old.ensure() if self._old_way else False) or again

    def _process(self, name: str, port: int, text: Callable[[Listening], str]) -> Process:
        addresses = (LOOPBACK, *([self._opened.address] if self._opened else ()))
        return Process(self._program, name, Listening(self._folder, port, addresses), text)

    def _as_plane(self, port: int) -> Connection:
        files = self.files
        return Connection(parse(f"mqtts://{LOOPBACK}:{port}"), None, None, files.ca, files.plane_cert, files.plane_key)

    def _operation_conf(self, at: Listening) -> str:
        return conf.operation_conf(at, self._tls(self.files.chain), _user())

    def _enrolment_conf(self, at: Listening) -> str:
        return conf.enrolment_conf(at, self._tls(self.files.enrolment_chain), _user())

    def _old_conf(self, at: Listening) -> str:
        own = self.files
        bridge = Bridge(self.operation.port, own.ca, own.old_cert, own.old_key, f"bridge-{secrets.token_hex(16)}")
        password = write_password_file(self._folder, self._opened) if self._opened else None
        return conf.old_conf(at, bridge, password, _user())

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


def _user() -> str | None:
    """Another user could not write below the home."""
    return "root" if os.geteuid() == 0 else None
