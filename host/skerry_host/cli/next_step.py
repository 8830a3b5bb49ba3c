"""The commands that make a release of a build, complete and as a shell takes them. Runs none of them."""

import shlex
from pathlib import Path

import click

from skerry_host.build_record import BuildRecord
from skerry_host.home import home_at
from skerry_host.release.store import Store

FIRST = "1.0.0"


def to_release(build: Path, record: BuildRecord) -> str:
    """The command for a release; `init` before it where there is no home, a version where a build has none."""
    home = home_at()
    base = ["skerry", *_home_option()]
    create = [*base, "release", "create", str(build)]
    if record.version is None:
        create += [
            "--version",
            _free_version(record.model, Store(home.store).releases() if home.store.is_dir() else ()),
        ]
    commands = [create] if home.keys.is_dir() else [[*base, "init"], create]
    return " && ".join(map(shlex.join, commands))


def _home_option() -> list[str]:
    """What this command was told of the home: the next one is not told by itself."""
    context = click.get_current_context(silent=True)
    named = context.find_root().params.get("home") if context else None
    return [] if named is None else ["--home", str(named)]


def _free_version(model: str, releases: tuple[str, ...] | list[str]) -> str:
    """The version after the newest release's: a release never changes."""
    versions = [name.partition("@")[2].partition("-")[0] for name in releases if name.partition("@")[0] == model]
    numbers = [tuple(map(int, version.split("."))) for version in versions]
    if not numbers:
        return FIRST
    major, minor, _patch = max(numbers)
    return f"{major}.{minor + 1}.0"
