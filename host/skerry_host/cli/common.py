"""Shared by all commands: the home and registry they work on, `--json`, and how tables are printed."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from skerry_host.home import Home, open_home
from skerry_host.plane.views.words import ago, micros, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from skerry_host.plane.registry.database import Registry

__all__ = [
    "after_option",
    "ago",
    "console",
    "emit",
    "emit_json",
    "json_option",
    "limit_option",
    "micros",
    "registry",
    "safe",
    "size",
    "table",
    "warn",
]

Function = TypeVar("Function", bound=Callable[..., Any])

json_option: Callable[[Function], Function] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit_option: Callable[[Function], Function] = click.option(
    "--limit", type=click.IntRange(min=1), default=100, metavar="N", help="Devices of one page [100]."
)
after_option: Callable[[Function], Function] = click.option(
    "--after", default="", metavar="NAME", help="Begin with the device behind this one."
)


@contextmanager
def registry(home: Home | None = None) -> Iterator["Registry"]:
    """The registry of $SKERRY_REGISTRY, else of a home. Raises `HomeError`, `RegistryError`."""
    from skerry_host.plane.registry.database import open_registry  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.registry.place import chosen  # noqa: PLC0415

    with open_registry(chosen(home or open_home())) as opened:
        yield opened


def emit_json(data: object) -> None:
    """Print data as indented JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")


def emit(data: object, as_json: bool, lines: Callable[[], "RenderableType"]) -> None:
    """Print data as JSON, or what `lines` makes of it for a person."""
    if as_json:
        emit_json(data)
    else:
        console().print(lines(), soft_wrap=True)


def warn(warnings: Iterable[str]) -> None:
    """Print each on a line of its own on standard error."""
    for line in warnings:
        sys.stderr.write(f"warning: {' '.join(line.splitlines())}\n")


def safe(text: str) -> str:
    """Text from outside, escaped so that nothing in it is taken for markup."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def console() -> "Console":
    """The output for people; wide when it is not a terminal, so that nothing is cut in a pipe."""
    from rich.console import Console  # noqa: PLC0415

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def table(*columns: str) -> "Table":
    """An empty table; columns that begin with > hold numbers."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made
