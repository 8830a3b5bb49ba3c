"""The operating systems that boards run: their Python, their glibc, and how they are told what to do at first boot.

Reads firmware_configs/systems. Looks at no machine: a system is chosen by name, or by the board that it is usual on.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_host.firmware import firmware_file
from skerry_host.nearest import did_you_mean

VARIABLE = "SKERRY_SYSTEMS"
OLDEST_PYTHON = (3, 11)
"""The oldest that the agent runs on."""
NEWEST_PYTHON = (3, 13)
"""The newest that requirements/*.txt have wheels for."""

FirstBoot = Literal["cloud-init", "kernel command line", "by hand"]
Dotted = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+\Z")]


class SystemsError(SkerryError):
    """An operating system is unknown, its file is wrong, or it cannot be used for a board."""

    code = "os"
    exit_code = 2


class System(Struct, frozen=True, forbid_unknown_fields=True):
    """One operating system. `python` and `glibc` are those that it comes with; `boards` those that it is usual on."""

    schema: Literal[1]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,40}\Z")]
    title: str
    codename: str
    python: Dotted
    glibc: Dotted
    arches: Annotated[tuple[Literal["aarch64", "x86_64"], ...], Meta(min_length=1)]
    boards: tuple[str, ...]
    first_boot: FirstBoot
    source: Annotated[str, Meta(min_length=10)]

    @property
    def runs_the_agent(self) -> bool:
        """Whether the agent and its wheels run on the Python that it comes with."""
        return OLDEST_PYTHON <= dotted(self.python) <= NEWEST_PYTHON


def dotted(version: str) -> tuple[int, int]:
    """A version of two numbers as these: 3.9 is before 3.11."""
    major, minor = version.split(".")
    return int(major), int(minor)


def systems_folder() -> Path:
    """Where the files are read from: $SKERRY_SYSTEMS, else firmware_configs/systems."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else firmware_file("systems")


def list_systems() -> list[str]:
    """The names of all systems, sorted."""
    return sorted(path.stem for path in systems_folder().glob("*.toml"))


def load_system(name: str) -> System:
    """A system by name; raises `SystemsError` that names those there are, or every issue of its file."""
    known = list_systems()
    if name not in known:
        hint = f"known systems: {', '.join(known)}{did_you_mean(name, known)}"
        raise SystemsError(f"there is no operating system {name!r}", hint=hint, code="unknown_os")
    path = systems_folder() / f"{name}.toml"
    try:
        system = codec.convert(codec.parse_toml(path.read_bytes()), System)
    except OSError as error:
        raise SystemsError(f"cannot read {path}: {error.strerror}") from None
    except WireError as error:
        raise SystemsError(f"{path} is invalid: {'; '.join(error.issues)}") from None
    if system.name != path.stem:
        raise SystemsError(f"{path} is invalid: name is {system.name!r}")
    return system


def usual_systems(board: str) -> tuple[System, ...]:
    """The systems that boards of a kind usually have, the oldest Python first; none for a board of one's own."""
    found = [system for system in map(load_system, list_systems()) if board in system.boards]
    return tuple(sorted(found, key=lambda system: dotted(system.python)))


def chosen_systems(board: str, arch: str, names: Iterable[str]) -> tuple[System, ...]:
    """Those that were named, else the board's usual ones, else all of its architecture that run the agent.

    Raises `SystemsError` for one of another architecture.
    """
    named = tuple(map(load_system, dict.fromkeys(names)))
    for system in named:
        if arch not in system.arches:
            raise SystemsError(
                f"{system.title} is for {', '.join(system.arches)}, board {board} is {arch}",
                hint=f"choose another with --os: {', '.join(_of(arch)) or 'there is none'}",
                code="os_arch",
            )
    return named or usual_systems(board) or tuple(load_system(name) for name in _of(arch))


def _of(arch: str) -> list[str]:
    return [name for name in list_systems() if arch in (found := load_system(name)).arches and found.runs_the_agent]
