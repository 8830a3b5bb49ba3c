"""The one way from a command to a terminal, with `lines`: nothing printed can hold a control character it was given.

Text is never read as markup, so `[red]` is what it says; colours are given with `styled`. Whatever is printed is
cleaned once more when it has been laid out, and links are left out: only rich's own escape sequences get through.
"""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from skerry_host.text import clean

PIPE_WIDTH = 160


class Terminal(Console):
    """A console that cleans what it has laid out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments without control characters, except those that move the cursor because rich says so."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else _clean_segment(segment)


def terminal(*, errors: bool = False, width: int | None = None, to: TextIO | None = None) -> Terminal:
    """The output for people, or for errors; wide when it is not a terminal, so that nothing is cut in a pipe.

    `to` is a stream that stands for it.
    """
    stream = to or (sys.stderr if errors else sys.stdout)
    wide = None if stream.isatty() else PIPE_WIDTH
    return Terminal(file=to, highlight=False, markup=False, emoji=False, stderr=errors, width=width or wide)


def styled(text: str, style: str) -> Text:
    """Clean text in a style, such as `bold` or `red`."""
    return Text(clean(text), style)


def joined(*parts: str | Text) -> Text:
    """One line of several parts."""
    return Text.assemble(*(part if isinstance(part, Text) else clean(part) for part in parts))


class CleanTable(Table):
    """A table whose cells are clean before their widths are measured."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row of texts, or of what else can be shown."""
        super().add_row(*(clean(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def table(*columns: str) -> CleanTable:
    """An empty table; columns that begin with > hold numbers."""
    made = CleanTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made


def _clean_segment(segment: Segment) -> Segment:
    text = "\n".join(map(clean, segment.text.split("\n"))) if not segment.text.isprintable() else segment.text
    style = segment.style
    if style is not None and style.link:
        style = style.update_link(None)
    return segment if text is segment.text and style is segment.style else Segment(text, style)
