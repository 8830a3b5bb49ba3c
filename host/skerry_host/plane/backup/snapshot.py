"""The registry as one SQLite file, in one consistent state, and back: of SQLite and PostgreSQL alike.

SQLite's own online backup copies in one go, so that a plane that writes cannot make it begin again, and holds up no
writer. Rows of a PostgreSQL are copied in one repeatable-read transaction into a new registry of the same schema. So a
backup of either kind can be restored to either kind.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Table, delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from skerry_host.plane.errors import RegistryError
from skerry_host.plane.registry.database import Registry, open_registry
from skerry_host.plane.registry.migrations import HEAD
from skerry_host.plane.registry.records import events
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import Base, ChangeRow, DeviceRow, HeartbeatRow

ROWS = 500
"""So many rows are in memory at a time."""


def take(source: Path | str, target: Path) -> int:
    """Copy the registry at a path or URL into a new SQLite file; how many devices it has.

    Raises `RegistryError` where it cannot be copied, and where it is damaged: no backup is made of what cannot be used.
    """
    with open_registry(source) as opened, _in_words(opened.name):
        path = _sqlite_path(source)
        if path is None:
            with open_registry(target) as copy:
                _copy_rows(opened, copy)
        else:
            _copy_file(path, target)
        _check(target, opened.name)
        with open_registry(target) as copy, copy.read() as session:
            devices = session.scalar(select(func.count()).select_from(DeviceRow)) or 0
        _close_log(target)
    return devices


def settle(file: Path, note: Event) -> None:
    """Make a copy fit for another plane: checked, of this Skerry's schema, without the heartbeat of the former.

    Raises `RegistryError`.
    """
    with _in_words("in the backup"):
        _check(file, "in the backup")
        with open_registry(file) as opened, opened.write() as session:
            session.execute(delete(HeartbeatRow))
            events.add(session, note)
        _close_log(file)


def put(file: Path, url: str) -> None:
    """Fill the registry at a URL, which must be empty, from a settled copy. Raises `RegistryError`."""
    with open_registry(file) as copy, open_registry(url) as target, _in_words(target.name), target.write() as session:
        if used := [table.name for table in _tables() if session.execute(select(table).limit(1)).first()]:
            hint = "name a database that is empty"
            raise RegistryError(
                f"the registry {target.name} holds a fleet already ({used[0]})", hint=hint, code="not_empty"
            )
        with copy.read() as reading:
            _fill(reading, session)


def _copy_rows(source: Registry, target: Registry) -> None:
    with source.read() as reading, target.write() as writing:
        reading.connection(execution_options={"isolation_level": "REPEATABLE READ"})  # SQLite is never copied by rows
        _fill(reading, writing)


def _fill(source: Session, target: Session) -> None:
    """Copy every row, parents first; the numbers of changes come last, for each row that is written is counted."""
    for table in _tables():
        for rows in source.execute(select(table).execution_options(yield_per=ROWS)).mappings().partitions():
            target.execute(insert(table), [dict(row) for row in rows])
        _go_on_numbering(target, table)
    for kind, number in source.execute(select(ChangeRow.kind, ChangeRow.number)).all():
        behind = (ChangeRow.kind == kind, ChangeRow.number < number)
        target.execute(update(ChangeRow).where(*behind).values(number=number))


def _go_on_numbering(session: Session, table: Table) -> None:
    """PostgreSQL gives numbers from a sequence, which rows with numbers of their own do not move."""
    if session.get_bind().dialect.name != "postgresql":
        return
    for column in table.primary_key:
        names = {"table": f'"{table.name}"', "column": column.name}
        sequence = session.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), names)
        newest = session.scalar(select(func.max(column))) if sequence else None
        if newest is not None:
            session.execute(text("SELECT setval(:sequence, :newest)"), {"sequence": sequence, "newest": newest})


def _tables() -> list[Table]:
    return [table for table in Base.metadata.sorted_tables if table.name != ChangeRow.__tablename__]


def _copy_file(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)


def _check(file: Path, name: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        what = f"the registry {name} is damaged: {' '.join(found.split())}"
        raise RegistryError(what, hint="restore it from an older backup", code="damaged")


def _close_log(file: Path) -> None:
    """All of it in the one file: a copy travels without SQLite's write-ahead log."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _sqlite_path(source: Path | str) -> Path | None:
    if isinstance(source, Path):
        return source
    return Path(source.removeprefix("sqlite:///")) if source.startswith("sqlite:///") else None


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """A full disk, or a server that goes away meanwhile, is one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        hint = "a copy of it needs as much room as it has"
        raise RegistryError(f"the registry {name} cannot be copied: {reason}", hint=hint) from None


REVISION = HEAD
"""The schema that a copy has: the one of the registry that was opened."""
