"""Shared by all commands: the home and registry they work on, `--json`, and how tables are printed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry_host.home import Home, open_home
from skerry_host.plane.views.words import ago, micros, size
from skerry_host.text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from skerry_host.cli.terminal import CleanTable, Terminal
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
    "styled",
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
def registry(home: Home | None = None, *, make: bool = False) -> Iterator["Registry"]:
    """The registry of $SKERRY_REGISTRY, else of a home. Raises `HomeError`, `RegistryError`.

    A command that does not `make` one refuses a file that is not there: its name is mistyped.
    """
    from skerry_host.plane.registry.database import open_registry  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.registry.place import chosen, require_file  # noqa: PLC0415

    where = chosen(home or open_home())
    if not make:
        require_file(where)
    with open_registry(where) as opened:
        yield opened


def emit_json(data: object) -> None:
    """Print data as indented JSON."""
    from skerry_host.cli.lines import write_json  # noqa: PLC0415 - keeps `--help` quick

    write_json(data)


def emit(data: object, as_json: bool, lines: Callable[[], "RenderableType"]) -> None:
    """Print data as JSON, or what `lines` makes of it for a person."""
    if as_json:
        emit_json(data)
    else:
        console().print(lines(), soft_wrap=True)


def warn(warnings: Iterable[str]) -> None:
    """Print each on a line of its own on standard error."""
    from skerry_host.cli.lines import write_error  # noqa: PLC0415

    for line in warnings:
        write_error("warning", line)


def safe(text: str) -> str:
    """Text from outside, cleaned before it is laid out; whatever is printed is cleaned once more (`terminal`)."""
    return clean(text)


def console() -> "Terminal":
    """The output for people; wide when it is not a terminal, so that nothing is cut in a pipe."""
    from skerry_host.cli.terminal import terminal  # noqa: PLC0415

    return terminal()


def styled(text: str, style: str) -> "Text":
    """Clean text in a style, such as `bold` or `red`: text itself is never read as markup."""
    from skerry_host.cli import terminal  # noqa: PLC0415

    return terminal.styled(text, style)


def table(*columns: str) -> "CleanTable":
    """An empty table; columns that begin with > hold numbers."""
    from skerry_host.cli import terminal  # noqa: PLC0415

    return terminal.table(*columns)
