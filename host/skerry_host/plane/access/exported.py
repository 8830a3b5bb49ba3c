"""Access rules in a folder for a broker that somebody else runs: `skerry broker export` writes it, `serve` keeps it.

The broker has them read by itself, as its units say. Where the broker is another machine's, the folder is copied there,
or lies where both see it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from msgspec import Struct, json

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_host.files import write_atomic
from skerry_host.home import Home
from skerry_host.identity.authority import Authority, KeyPair
from skerry_host.plane.broker.access import Access
from skerry_host.plane.broker.export import mosquitto, nats, rabbitmq
from skerry_host.plane.broker.export.place import Place
from skerry_host.plane.broker.rules import Rules

Kind = Literal["mosquitto", "rabbitmq", "nats"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_MODULES: dict[Kind, ModuleType] = {"mosquitto": mosquitto, "rabbitmq": rabbitmq, "nats": nats}
RECORD = "export.json"


class Export(Struct, frozen=True):
    """What was exported last: for which broker, into which folder, and the ports that it listens on."""

    kind: Kind
    folder: str
    operation: int = 8883
    enrolment: int = 8884

    @property
    def place(self) -> Place:
        """The folder and ports."""
        return Place(Path(self.folder), self.operation, self.enrolment)


class ExportedFolder:
    """The keeper's target for such a broker: reloading is the broker's own matter."""

    def __init__(self, export: Export) -> None:
        self._place, self._rules = export.place, rules_of(export.kind)
        self.patience_s = 30.0

    def content(self, rules: Rules) -> dict[str, bytes]:
        """The files of some rules; the label is the last, for it is what the broker's unit watches."""
        return self._rules(rules, self._place)

    def write(self, content: Mapping[str, bytes]) -> None:
        """Replace them, in this order."""
        for name, data in content.items():
            write_atomic(self._place.folder / name, data, mode=0o644)

    def written(self) -> dict[str, bytes]:
        """What lies there, in the same order."""
        files = {name: self._place.folder / name for name in self.content(Rules(Access(), b""))}
        return {name: file.read_bytes() for name, file in files.items() if file.exists()}

    def reload(self, old_way: frozenset[str]) -> None:
        """Nothing to be done from here."""

    def expel(self, stand_in: KeyPair) -> None:
        """Likewise: RabbitMQ and NATS have done it themselves."""


def rules_of(kind: Kind) -> Callable[[Rules, Place], dict[str, bytes]]:
    """What writes a broker's rules."""
    made: Callable[[Rules, Place], dict[str, bytes]] = _MODULES[kind].rules
    return made


def export(home: Home, chosen: Export, rules: Rules, names: list[str], now: float) -> list[str]:
    """Write everything that the broker needs, and remember it for `serve`. Returns the names of the files.

    `names` are the host names and addresses that devices call it by. Raises `IdentityError`, `OSError`.
    """
    place, authority = chosen.place, Authority.open(home.identity, now)
    place.folder.mkdir(parents=True, exist_ok=True)
    pair = authority.server(names)
    write_atomic(place.server, pair.pem + pair.key_pem, mode=0o600)
    texts = {name: text.encode() for name, text in _MODULES[chosen.kind].setup(place).items()}
    certificates = {place.chain.name: authority.chain_pem, place.enrolment_chain.name: authority.enrolment_chain_pem}
    files = {**texts, **certificates, **ExportedFolder(chosen).content(rules)}
    for name, data in files.items():
        write_atomic(place.folder / name, data, mode=0o644)
    write_atomic(home.broker / RECORD, json.format(json.encode(chosen)) + b"\n")
    return sorted([*files, place.server.name])


def exported(home: Home) -> Export | None:
    """What was exported last, if anything was."""
    try:
        return codec.decode((home.broker / RECORD).read_bytes(), Export)
    except (OSError, WireError):
        return None
