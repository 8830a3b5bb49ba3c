"""`skerry keys`: the keys and certificates of a home, the root key's way out of it, and the next issuing CA."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from skerry_host import dates
from skerry_host.cli.common import emit, json_option, table, warn
from skerry_host.home import Home, open_home

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skerry_host.identity.inventory import Entry

ROOT_KEY = "the root key"
SHOWN = 16

passphrase_option = click.option(
    "--passphrase-file",
    "secret",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the root key's passphrase in one line, for its owner only [$SKERRY_PASSPHRASE].",
)


@click.group()
def keys() -> None:
    """List keys and certificates, take the root key away, renew the issuing CA."""


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List every key and certificate of the home: what it is for, its fingerprint, mode and end."""
    from skerry_host.identity.inventory import inventory, root_is_away  # noqa: PLC0415 - keeps `--help` quick

    home = open_home()
    entries = inventory(home.root, time.time())
    warnings = [f"{entry.path}: {entry.warning}" for entry in entries if entry.warning]
    if home.identity.is_dir() and not root_is_away(entries):
        warnings.append("the root key lies in the home: take it away with `skerry keys take-root DIR`")
    warn(warnings)
    emit({"keys": msgspec.to_builtins(entries), "warnings": warnings}, as_json, lambda: _listed(entries))


def _listed(entries: Sequence["Entry"]) -> "RenderableType":
    made = table("file", "holds", "for", "fingerprint", "mode", "until")
    for entry in entries:
        until = dates.utc(entry.until, "%Y-%m-%d") if entry.until else ""
        made.add_row(entry.path, entry.kind, entry.role, entry.fingerprint[:SHOWN], entry.mode, until)
    return made


@keys.command("take-root")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@passphrase_option
@json_option
def take_root(folder: Path, secret: Path | None, as_json: bool) -> None:
    """Move the fleet's root key to DIR, on a disk that is kept elsewhere. Nothing needs it before the issuing CA ends.

    It is removed from the home only once its copy was read back. With a passphrase, DIR may be a stick with any file
    system; without one, whoever has DIR has the fleet.
    """
    from skerry_host.cli import passphrase  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.identity import custody  # noqa: PLC0415

    phrase = passphrase.new(secret, ROOT_KEY) if passphrase.given(secret) else None
    taken = custody.take_root(_identity(open_home()), folder, phrase.encode() if phrase else None)
    if phrase is None:
        warn([f"{taken} is under no passphrase: whoever has it can make this fleet's authorities"])
    data = {"root": str(taken), "passphrase": phrase is not None}
    emit(data, as_json, lambda: f"the root key is at {taken}, and no longer in the home; keep a second copy")


@keys.command("renew-issuing")
@click.option("--root", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where the root key is [home].")
@passphrase_option
@json_option
def renew_issuing(folder: Path | None, secret: Path | None, as_json: bool) -> None:
    """Make the next issuing CA. It signs from the next start of `skerry serve` on; what the one before signed stays."""
    from skerry_host.cli import passphrase  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.identity import custody, key_files  # noqa: PLC0415

    identity = _identity(open_home())
    at = (folder or identity / key_files.ROOT).absolute()
    path = at / f"{key_files.ROOT}{key_files.KEY}"
    sealed = path.is_file() and key_files.is_sealed(key_files.read(path))
    phrase = passphrase.existing(secret, ROOT_KEY).encode() if sealed else None
    made = custody.renew_issuing(identity, at, phrase, time.time())
    emit({"issuing": str(made)}, as_json, lambda: f"{made} is ready; next: start `skerry serve` again")


def _identity(home: Home) -> Path:
    from skerry_host.identity.errors import IdentityError  # noqa: PLC0415

    if not home.identity.is_dir():
        hint = "`skerry serve` makes one when it starts a broker with TLS"
        raise IdentityError(f"{home.root} has no certificate authority yet", hint=hint, code="no_authority")
    return home.identity
