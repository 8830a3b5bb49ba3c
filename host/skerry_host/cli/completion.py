"""`skerry completion`: prints what a shell needs to complete commands, and the names of devices, releases and so on.

Names are read straight from the home: the registry's layer takes longer to load than anybody waits for a Tab. What
cannot be read quickly has no names; nothing here fails or writes.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem, get_completion_class

from skerry_host.cli.lines import write_line
from skerry_host.home import home_at
from skerry_host.plane.registry import place

COMPLETING = "_SKERRY_COMPLETE"
"""Set by the printed scripts: click's own name for it, made from the program's. It then prints candidates only."""
SHELLS = ("bash", "zsh", "fish")
MOST = 500
WAIT_S = 0.5


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a shell's completion script, which also completes names of devices, groups, boards and releases.

    \b
    bash, into ~/.bashrc:   eval "$(skerry completion bash)"
    zsh, into ~/.zshrc:     eval "$(skerry completion zsh)"     (after compinit)
    fish:                   skerry completion fish > \\
                              ~/.config/fish/completions/skerry.fish
    """  # noqa: D301 - it is click's mark for lines that stay as they are
    found = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    assert found is not None
    with contextlib.redirect_stderr(None):  # it looks for a bash, and says so where it is old
        for line in found(root, {}, "skerry", COMPLETING).source().splitlines():
            write_line(line)


# -- names -------------------------------------------------------------------------------------------------------------


def boards() -> Iterable[str]:
    """All boards that there are files of."""
    from skerry_host.boards import list_boards  # noqa: PLC0415 - the other names need none of it

    return list_boards()


def devices() -> Iterable[str]:
    """All enrolled devices."""
    return _rows("SELECT id FROM devices ORDER BY id")


def codes() -> Iterable[str]:
    """The codes of boards that wait for a person."""
    return _rows("SELECT code FROM pending WHERE approved IS NULL AND denied IS NULL ORDER BY first")


def groups() -> Iterable[str]:
    """All groups."""
    return _rows("SELECT name FROM groups ORDER BY name")


def rollouts() -> Iterable[str]:
    """The newest rollouts."""
    return _rows("SELECT id FROM rollouts ORDER BY created DESC LIMIT 500")


def releases() -> Iterable[str]:
    """All releases in the store."""
    found = home_at().store.glob("releases/*/*.json")
    return sorted(f"{path.parent.name}@{path.stem}" for path in found)


def runtimes() -> Iterable[str]:
    """All runtimes and agents in the store."""
    found = home_at().store.glob("runtimes/*/*.json")
    return sorted(f"{path.parent.name}@{path.stem}" for path in found)


def _rows(query: str) -> list[str]:
    found = place.chosen(home_at())
    if isinstance(found, str) and not found.startswith("sqlite:"):
        return [*_of_postgresql(found, query)]
    path = str(found).removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_S)) as connection:
        return [str(row[0]) for row in connection.execute(query)]


def _of_postgresql(url: str, query: str) -> Iterator[str]:
    import psycopg  # noqa: PLC0415 - an extra

    address = "postgresql://" + url.partition("://")[2]
    with psycopg.connect(address, connect_timeout=1) as connection:
        yield from (str(row[0]) for row in connection.execute(query.encode()))


NAMES: dict[tuple[str, str], Callable[[], Iterable[str]]] = {
    ("device", "name"): devices,
    ("device", "old"): devices,
    ("device", "code"): codes,
    ("device", "codes"): codes,
    ("group", "name"): groups,
    ("release", "name"): releases,
    ("release", "old"): releases,
    ("release", "new"): releases,
    ("rollout", "release"): releases,
    ("rollout", "rollout_id"): rollouts,
    ("rollout", "runtime"): runtimes,
    ("release", "runtime"): runtimes,
    ("runtime", "wanted"): runtimes,
    ("*", "board"): boards,
    ("*", "group"): groups,
    ("*", "names"): devices,
}
"""What completes a parameter, by the top command and the parameter; `*` is any command."""


class _Name(click.types.StringParamType):
    """A text of which a shell is told the candidates."""

    def __init__(self, source: Callable[[], Iterable[str]]) -> None:
        self._source = source

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin like it; none where they cannot be read."""
        del param
        home = ctx.find_root().params.get("home")
        if home:
            os.environ["SKERRY_HOME"] = str(home)
        try:
            return [CompletionItem(name) for name in self._source() if name.startswith(incomplete)][:MOST]
        except Exception:  # noqa: BLE001 - whoever presses Tab wants no message
            return []


def teach(top: str, command: click.Command) -> click.Command:
    """Give the parameters of a command and of those below it the names that complete them."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            teach(top, each)
    new = command.name in {"provision", "create"}  # they are given a name that there is not yet
    for parameter in command.params:
        key = parameter.name or ""
        source = NAMES.get(("*", key)) or (None if new else NAMES.get((top, key)))
        if source is not None:
            parameter.type = _Name(source)
    return command
