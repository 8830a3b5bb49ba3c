"""The progress of long commands, on standard error: a bar in a terminal, else a line every ten seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TextIO

from skerry_host.cli.lines import lasting_stderr, write_error

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from skerry_host.builder.recipe.progress import Progress


EVERY_S = 10.0
"""A command that ends sooner says nothing in a pipe."""
NEVER_S = 1e8


@contextmanager
def steps(quiet: bool, every_s: float = EVERY_S) -> "Iterator[Progress]":
    """Shows the steps of a build: as a bar in a terminal, as lines for a log elsewhere; nothing with `quiet`.

    A command begins with it, before it loads what takes seconds on a busy machine.
    """
    from skerry_host.cli.terminal import terminal  # noqa: PLC0415

    with lasting_stderr() as stream:
        if not terminal(errors=True, to=stream).is_terminal:
            with lines(NEVER_S if quiet else every_s, partial(write_error, stream=stream)) as show:
                yield show
            return
        with _bar(quiet, stream) as bar:
            task = bar.add_task("starting", total=None)

            def show_bar(step: str, done: int = 0, of: int = 0, /) -> None:
                bar.update(task, description=step, completed=done, total=of or None)

            yield show_bar


@contextmanager
def lines(every_s: float = EVERY_S, say: Callable[[str, str], None] = write_error) -> "Iterator[Progress]":
    """Says the current step every so many seconds, also while the step itself reports nothing."""
    state, ended = {"step": "starting"}, threading.Event()

    def show(step: str, done: int = 0, of: int = 0, /) -> None:
        state["step"] = f"{step} ({done} of {of})" if of else step

    def watch() -> None:
        begun = time.monotonic()
        while not ended.wait(every_s):
            say("progress", f"{time.monotonic() - begun:.0f} s: {state['step']}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()


@contextmanager
def shares(quiet: bool, step: str = "making the patch") -> "Iterator[Callable[[float], None]]":
    """A bar on standard error that shows what share of a patch, from 0 to 1, is made; otherwise as `steps`."""
    with steps(quiet) as show:
        yield lambda share: show(step, round(100 * share), 100)


def _bar(quiet: bool, stream: TextIO) -> "Bar":
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
    err = terminal(errors=True, to=stream)
    return Bar(*parts, console=err, transient=True, disable=quiet)
