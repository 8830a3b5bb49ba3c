"""How every list is narrowed, ordered and paged: `--where`, `--sort`, `--limit` and `--after`, the same for all.

A list says what its fields are and gives each of its items as a row of them; nothing here knows what an item is.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import click

from skerry_host.fleet import group

T = TypeVar("T")
Row = Mapping[str, object]
PAGE = 100


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a person asked of a list; `limit` is None where nothing was said."""

    where: str
    sort: str
    limit: int | None
    after: str
    fields: tuple[str, ...]

    @property
    def narrows(self) -> bool:
        """Whether something may have been left out."""
        return self.where != "all" or bool(self.after)

    @property
    def plain(self) -> bool:
        """Whether the list is in its own order and nothing is left out of it."""
        return self.where == "all" and not self.sort

    def uses(self, *fields: str) -> bool:
        """Whether a field decides what is shown."""
        return any(field in self.where or field == self.sort.lstrip("-") for field in fields)


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A page: its items, how many there are in all and behind it, and the name of its last one."""

    items: Sequence[T]
    found: int
    rest: int
    last: str

    def more(self, what: str) -> list[str]:
        """A line that says how to see the rest, if there is one."""
        return [f"{self.rest} more {what}: --after {self.last}, or --limit {self.found}"] if self.rest else []


def list_options(*fields: str, example: str, sort: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """The four options of a list, handed on as `options`; it may be sorted by its fields, and by those in `sort`."""
    keys = (*fields, *sort)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--where", default="all", metavar="EXPR", help=f"Which ones, for instance {example} [all].")
        @click.option("--sort", default="", metavar="FIELD", callback=_sort_key(keys), help=_sorts(keys))
        @click.option("--limit", type=click.IntRange(min=1), metavar="N", help="How many at most [100].")
        @click.option("--after", default="", metavar="NAME", help="Begin with the one behind this one.")
        @functools.wraps(command)
        def wrapped(where: str, sort: str, limit: int | None, after: str, **others: Any) -> Any:
            return command(options=ListOptions(where, sort, limit, after, fields), **others)

        return wrapped

    return decorate


def part(items: Sequence[T], row: Callable[[T], Row], options: ListOptions, most: int) -> Part[T]:
    """The page of a list that was asked for; each row has an `id`, which `--after` names. Raises `WhereError`."""
    selection = group.parse(options.where, options.fields)
    rows = [(SimpleNamespace(**row(item)), item) for item in items]
    if options.sort:
        name = options.sort.lstrip("-")
        rows.sort(key=lambda each: _order(getattr(each[0], name)), reverse=options.sort.startswith("-"))
    behind = [each for each in _behind(rows, options) if selection.matches(each[0])]
    found = len(behind) if not options.after else sum(selection.matches(each[0]) for each in rows)
    shown = behind[:most]
    last = str(shown[-1][0].id) if shown else ""
    return Part([item for _, item in shown], found, len(behind) - len(shown), last)


def _behind(rows: "list[tuple[SimpleNamespace, T]]", options: ListOptions) -> "list[tuple[SimpleNamespace, T]]":
    """Looked up before `--where` narrows: what was last on one page may not be selected any more on the next."""
    if not options.after:
        return rows
    names = [str(row.id) for row, _ in rows]
    if options.after in names:
        return rows[names.index(options.after) + 1 :]
    if options.sort or names != sorted(names):
        raise click.UsageError(f"--after {options.after}: this is not in the list", click.get_current_context())
    return [each for each, name in zip(rows, names, strict=True) if name > options.after]


def none_yet(options: ListOptions, what: str, first: str) -> str:
    """What is said in place of an empty list: how to make the first one, unless others may have been left out."""
    return f"no such {what}" if options.narrows else f"no {what} yet: {first}"


def _order(value: object) -> tuple[bool, Any]:
    """Absent ones first, and several values as text."""
    if isinstance(value, tuple):
        return bool(value), " ".join(map(str, value))
    return value is not None, value if value is not None else 0


def _sort_key(keys: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], str]:
    def check(_context: click.Context, _option: click.Parameter, text: str) -> str:
        if text and text.lstrip("-") not in keys:
            raise click.BadParameter(f"{text!r} is not one of {', '.join(keys)}, or with a - before it")
        return text

    return check


def _sorts(keys: Sequence[str]) -> str:
    return f"By {', '.join(keys)}; with a - before it, the other way round."
