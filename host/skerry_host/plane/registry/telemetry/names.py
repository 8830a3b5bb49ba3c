"""The names in telemetry as numbers: models, samples, labels. Each is kept once in the registry, for all devices."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from skerry_host.plane.registry.tables import NameRow
from skerry_host.plane.registry.telemetry.packing import Key, Name

MOST_NAMES = 100_000
"""Beyond, rows hold new names as text: a device that invents them does not fill the registry for ever."""

LONGEST = 500
"""A longer name is held as text as well."""

PART = 5000
"""So many at a time: SQLite limits the parameters of one query."""

_ENCODER = msgspec.json.Encoder()
_KEY = msgspec.json.Decoder(tuple[str | None, ...])


def numbered(session: Session, keys: Iterable[Key]) -> dict[Key, Name]:
    """What stands for each key; new ones are numbered."""
    texts = {key: _ENCODER.encode(key).decode() for key in set(keys)}
    known = _known(session, texts.values())
    new = [text for text in texts.values() if text not in known and len(text) <= LONGEST]
    if new and (session.scalar(select(func.count()).select_from(NameRow)) or 0) + len(new) <= MOST_NAMES:
        session.execute(insert(NameRow), [{"text": text} for text in sorted(new)])
        known |= _known(session, new)
    return {key: known.get(text, text) for key, text in texts.items()}


def keys_of(session: Session, names: Iterable[Name]) -> dict[Name, Key]:
    """What some names stand for."""
    found: dict[Name, Key] = {}
    numbers: list[int] = []
    for name in set(names):
        if isinstance(name, str):
            found[name] = _KEY.decode(name)
        else:
            numbers.append(name)
    for start in range(0, len(numbers), PART):
        query = select(NameRow.id, NameRow.text).where(NameRow.id.in_(numbers[start : start + PART]))
        found.update({number: _KEY.decode(text) for number, text in session.execute(query)})
    return found


def _known(session: Session, texts: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    wanted = list(texts)
    for start in range(0, len(wanted), PART):
        query = select(NameRow.text, NameRow.id).where(NameRow.text.in_(wanted[start : start + PART]))
        found.update(session.execute(query).tuples().all())
    return found
