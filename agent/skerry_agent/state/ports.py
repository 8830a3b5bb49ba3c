"""The TCP port of each model's inference API, chosen once and kept: applications find it again after any restart.

A record in the state folder, `ports.json`. Opens no socket.
"""

from pathlib import Path

from msgspec import Struct

from skerry_agent.state.disk import DiskError, os_error_text, read_record, set_aside, write_record
from skerry_agent.wire.names import ModelName

PORTS_FILE = "ports.json"


class PortsRecord(Struct, frozen=True):
    """By model."""

    ports: dict[ModelName, int] = {}


class KeptPorts:
    """What a state folder says of ports. `issue` is why it says nothing, or cannot be told."""

    def __init__(self, state: Path) -> None:
        self._file = state / PORTS_FILE
        self.issue: str | None = None
        try:
            self._ports = dict((read_record(self._file, PortsRecord) or PortsRecord()).ports)
        except DiskError as error:
            self._ports = {}
            self.issue = f"{error}: ports of inference APIs are chosen anew"
            set_aside(self._file)

    def find(self, model: str) -> int | None:
        """The port of a model, None if none was chosen yet."""
        return self._ports.get(model)

    @property
    def taken(self) -> frozenset[int]:
        """The ports of all models, also of those that do not run now."""
        return frozenset(self._ports.values())

    def keep(self, model: str, port: int) -> None:
        """Remember a choice; where the disk refuses, until the next start."""
        self._ports[model] = port
        try:
            write_record(self._file, PortsRecord(self._ports))
        except OSError as error:
            self.issue = f"port {port} of {model} cannot be kept, so it may change: {os_error_text(error)}"
