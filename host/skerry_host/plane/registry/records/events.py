"""The audit trail: what happened, when, to whom, in one line. Never read by the rollout loop."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from skerry_host.plane.registry.tables import EventRow
from skerry_host.text import MOST, clean


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trail; `at` is seconds since 1970."""

    at: float
    kind: str
    subject: str
    text: str


def add(session: Session, event: Event) -> None:
    """Note an event; what others have written is cleaned, whoever passes it on."""
    subject, text = clean(event.subject, MOST), clean(event.text, MOST)
    session.add(EventRow(at=event.at, kind=event.kind, subject=subject, text=text))


def latest(session: Session, limit: int = 50) -> list[Event]:
    """The newest events first."""
    rows = session.scalars(select(EventRow).order_by(EventRow.id.desc()).limit(limit))
    return [Event(row.at, row.kind, row.subject, row.text) for row in rows]


def newest(session: Session) -> Iterator[tuple[int, Event]]:
    """(number, event) of all that are kept, newest first, a few in memory at a time."""
    query = select(EventRow).order_by(EventRow.id.desc()).execution_options(yield_per=500)
    for row in session.scalars(query):
        yield row.id, Event(row.at, row.kind, row.subject, row.text)


def prune(session: Session, before: float) -> None:
    """Delete what happened before a time."""
    session.execute(delete(EventRow).where(EventRow.at < before))
