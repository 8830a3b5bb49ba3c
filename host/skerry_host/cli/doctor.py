"""`skerry doctor`: whether this machine has what the host needs. Changes nothing."""

import shutil
import time
from collections.abc import Callable
from importlib.util import find_spec

import click
from msgspec import Struct

from skerry_agent.wire.errors import SkerryError
from skerry_host.boards import list_boards
from skerry_host.cli.common import emit, json_option, registry, safe, styled, table
from skerry_host.home import open_home
from skerry_host.plane.broker.broker import find_mosquitto
from skerry_host.plane.views import plane_state
from skerry_host.release import keys
from skerry_host.release.store import Store


class Finding(Struct, frozen=True):
    """The result of one check. `needed` is False for what the host can do without."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check Python packages, broker, home, keys, registry, store, whether the plane runs, and disk."""
    checks = [_packages(), _broker(), *(_tried(name, look) for name, look in _LOOKS.items()), _plane(), _space()]
    made = table("", "check", "result")
    for check in checks:
        sign = ("ok", "green") if check.ok else ("no", "red") if check.needed else ("--", "yellow")
        made.add_row(styled(*sign), check.name, safe(check.detail))
    emit(checks, as_json, lambda: made)
    return 0 if all(check.ok or not check.needed for check in checks) else 1


def _packages() -> Finding:
    wanted = (
        "ai_edge_litert",
        "paho.mqtt",
        "sqlalchemy",
        "alembic",
        "cryptography",
        "zstandard",
        "starlette",
        "uvicorn",
    )
    missing = [name for name in wanted if not _has(name)]
    return Finding(
        "python packages", not missing, f"missing: {', '.join(missing)}" if missing else f"{len(wanted)} found"
    )


def _has(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _broker() -> Finding:
    program = find_mosquitto()
    if program:
        return Finding("broker", True, program)
    embedded = _has("iotcore")
    detail = (
        "the embedded broker; install mosquitto for more than a demo" if embedded else "install mosquitto or iotcore"
    )
    return Finding("broker", embedded, detail)


def _tried(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except SkerryError as error:
        return Finding(name, False, str(error))


def _registry() -> str:
    with registry() as opened:
        return opened.name


def _plane() -> Finding:
    """A plane that has run here and does not now is a failure: nothing that is ordered happens."""
    try:
        with registry() as opened, opened.read() as session:
            now = time.time()
            plane = plane_state.seen(session, now)
    except SkerryError as error:
        return Finding("plane", False, str(error))
    running = f"runs as process {plane.pid} on {plane.host}, version {plane.version}"
    return Finding("plane", plane.running, plane.line(now) or running, needed=plane.state != "never")


def _keys() -> str:
    return ", ".join(f"{role} {keys.load(open_home().keys, role).keyid[:12]}" for role in keys.ROLES)


def _store() -> str:
    return f"{len(Store(open_home().store).releases())} releases"


def _space() -> Finding:
    free = shutil.disk_usage(".").free
    return Finding("disk", free > 1e9, f"{free / 1e9:.1f} GB free")


_LOOKS: dict[str, Callable[[], str]] = {
    "home": lambda: str(open_home().root),
    "keys": _keys,
    "registry": _registry,
    "store": _store,
    "boards": lambda: ", ".join(list_boards()),
}
