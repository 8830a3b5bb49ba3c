"""The progress bar of long commands: on standard error, and only in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from skerry_host.builder.recipe.progress import Progress


@contextmanager
def steps(quiet: bool) -> "Iterator[Progress]":
    """A bar on standard error that shows the steps of a build; nothing with `quiet` or outside a terminal."""
    with _bar(quiet) as bar:
        task = bar.add_task("starting", total=None)

        def show(step: str, done: int = 0, of: int = 0, /) -> None:
            bar.update(task, description=step, completed=done, total=of or None)

        yield show


@contextmanager
def shares(quiet: bool, step: str = "making the patch") -> "Iterator[Callable[[float], None]]":
    """A bar on standard error that shows what share of a patch, from 0 to 1, is made; otherwise as `steps`."""
    with steps(quiet) as show:
        yield lambda share: show(step, round(100 * share), 100)


def _bar(quiet: bool) -> "Bar":
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    from skerry_host.cli.terminal import terminal  # noqa: PLC0415

    parts = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    err = terminal(errors=True)
    return Bar(*parts, console=err, transient=True, disable=quiet or not err.is_terminal)
