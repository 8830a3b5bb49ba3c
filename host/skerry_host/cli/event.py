"""`skerry event`: what happened to devices, rollouts and orders, and when."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from skerry_host import dates
from skerry_host.cli.common import emit, json_option, registry, table
from skerry_host.cli.listing import PAGE, ListOptions, Row, list_options, part
from skerry_host.cli.plane import plane_now
from skerry_host.plane.registry.records import events
from skerry_host.plane.views.labels import event_label, label

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOKED_THROUGH = 200_000
"""So many events are looked through, newest first: more than a year of most fleets."""


class NumberedEvent(Struct, frozen=True):
    """One event with its number, which rises; `at` is seconds since 1970."""

    id: int
    at: float
    kind: str
    subject: str
    text: str


@click.group()
def event() -> None:
    """List what happened."""


@event.command("list")
@list_options("id", "kind", "subject", "text", example="'subject=shelf-* and kind=rolled_back'", sort=("at",))
@json_option
def list_events(options: ListOptions, as_json: bool) -> None:
    """List events, newest first if nothing else is said, by this machine's time. --after takes an event's number."""
    most = options.limit or PAGE
    with registry() as opened, opened.read() as session:
        plane_now(session)
        enough = most if options.plain and not options.after else LOOKED_THROUGH
        found = [
            NumberedEvent(number, each.at, each.kind, each.subject, each.text)
            for number, each in islice(events.newest(session), enough)
        ]
    shown = part(found, _row, options, most)
    emit(shown.items, as_json, lambda: _listed(shown.items, shown.more("events")))


def _row(each: NumberedEvent) -> Row:
    return {"id": each.id, "at": each.at, "kind": each.kind, "subject": each.subject, "text": each.text}


def _listed(found: Sequence[NumberedEvent], more: list[str]) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not found:
        return "no such events"
    made = table(">number", "when", "what", "of", "")
    for each in found:
        when = dates.local(each.at, "%Y-%m-%d %H:%M:%S")
        made.add_row(str(each.id), when, event_label(each.kind), each.subject, label(each.text))
    return Group(made, *more)
