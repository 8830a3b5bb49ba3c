"""The progress bar of long commands: on standard error, and only in a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry_host.builder.recipe.progress import Progress


@contextmanager
def steps(quiet: bool) -> "Iterator[Progress]":
    """A bar on standard error that shows the steps of a build; nothing with `quiet` or outside a terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    parts = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    err = Console(stderr=True)
    with Bar(*parts, console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def show(step: str, done: int = 0, of: int = 0, /) -> None:
            bar.update(task, description=step, completed=done, total=of or None)

        yield show
