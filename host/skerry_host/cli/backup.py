"""`skerry backup` and `skerry restore`: the fleet's state in one sealed file, and back on this or another machine."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry_host.cli.common import emit, json_option, size, warn
from skerry_host.cli.init import for_all_commands
from skerry_host.home import Home, home_at, open_home

if TYPE_CHECKING:
    from skerry_host.plane.backup.contents import Contents

passphrase_option = click.option(
    "--passphrase-file",
    "secret",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the passphrase in one line, for its owner only [$SKERRY_PASSPHRASE, else it is asked for].",
)
file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@file_argument
@passphrase_option
@json_option
def backup(file: Path, secret: Path | None, as_json: bool) -> None:
    """Write the home, its keys and the registry to FILE, sealed with a passphrase, also while `skerry serve` runs.

    FILE is replaced when it is an older backup and the new one is complete. Whoever has FILE and the passphrase can
    sign as this host does.
    """
    from skerry_host.cli import passphrase  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.backup.create import Source, create  # noqa: PLC0415
    from skerry_host.plane.heartbeat import this_process  # noqa: PLC0415
    from skerry_host.plane.registry.place import chosen, require_file  # noqa: PLC0415

    home = open_home()
    where = chosen(home)
    require_file(where)
    source = Source(home, where, this_process().version)
    made = create(source, file, passphrase.new(secret), time.time())
    warn(made.warnings)
    data = {"file": str(file), "bytes": made.size, "warnings": made.warnings, **_facts(made.contents)}
    emit(data, as_json, lambda: f"wrote {file}, {size(made.size)}: {_held(made.contents)}")


@click.command()
@file_argument
@passphrase_option
@click.option("--home", "to", type=click.Path(path_type=Path), help="The home to make: empty, or not there yet.")
@click.option("--registry", "url", metavar="URL", help="Put the registry into this database, which must be empty.")
@click.option("--list", "only_list", is_flag=True, help="Check FILE and say what it holds; make nothing.")
@json_option
def restore(file: Path, secret: Path | None, to: Path | None, url: str | None, only_list: bool, as_json: bool) -> None:
    """Make a home of the backup FILE: all of it, or nothing where FILE is damaged or the passphrase is wrong.

    The registry is then in the home, wherever it was before, unless --registry names another place.
    """
    from skerry_host.cli import passphrase  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.backup.restore import read  # noqa: PLC0415

    if only_list:
        made = read(file, passphrase.existing(secret))
        emit({"file": str(file), **_facts(made)}, as_json, lambda: f"{file} is whole: {_held(made)}")
        return
    home = home_at(to)
    facts, warnings = _restored(file, passphrase.existing(secret), home, url or for_all_commands())
    warn(warnings)
    emit(facts, as_json, lambda: _next(facts))


def _restored(file: Path, phrase: str, home: Home, url: str | None) -> tuple[dict[str, object], tuple[str, ...]]:
    from skerry_host.plane.backup.restore import restore as make  # noqa: PLC0415
    from skerry_host.plane.registry.place import VARIABLE, checked, shown  # noqa: PLC0415

    done = make(file, phrase, home, checked(url) if url else None, time.time())
    name = shown(checked(url)) if url else str(done.home.registry)
    facts = {"home": str(done.home.root), "now_in": name, "warnings": done.warnings, **_facts(done.contents)}
    elsewhere = () if url or VARIABLE not in os.environ else (f"${VARIABLE} names another registry: unset it",)
    return facts | {"held": _held(done.contents)}, (*done.warnings, *elsewhere)


def _facts(made: "Contents") -> dict[str, object]:
    return {
        "created": made.created,
        "of_home": made.home,
        "registry": made.registry,
        "devices": made.devices,
        "releases": made.releases,
        "skerry": made.skerry,
    }


def _held(made: "Contents") -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made.created))
    return f"{made.home} as of {when}, with {_count(made.devices, 'device')} and {_count(made.releases, 'release')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _next(facts: dict[str, object]) -> str:
    return (
        f"home {facts['home']} is ready: {facts['held']}; its registry is {facts['now_in']}\n"
        "what came in or was ordered after that time is not in it: see `skerry event list`, and revoke again what was "
        f"revoked since; next: skerry --home {facts['home']} serve"
    )
