"""Opens the registry: SQLite (WAL) by path, PostgreSQL by URL; brings its schema up to date; hands out sessions.

Many processes may use one registry at a time: commands write to it and the serving plane polls it. A write
transaction takes the one write lock when it begins, so that none fails half-way on a lock. Holds no queries.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
)
from sqlalchemy.orm import Session

from skerry_host.plane.errors import RegistryError
from skerry_host.plane.registry.migrations import HEAD
from skerry_host.plane.registry.place import checked, shown

BUSY_S = 20
"""How long a transaction waits for another's write lock."""

CONNECT_S = 10
"""How long a database server may take to answer; libpq's own limit is minutes."""

WRITE_LOCK = 0x736B6572
"""The key of PostgreSQL's advisory lock that writers take, as SQLite's writers take the file's."""


class Registry:
    """A database of one fleet; `name` says which, without a password."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session over one consistent state. Raises `RegistryError` like `write`."""
        with self._plainly(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end, or leaves nothing when the block raises.

        Raises `RegistryError` when it is not a registry any more: retrying would not help.
        """
        engine = self._engine.execution_options(skerry_write=True)
        with self._plainly(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Turn a damaged database into a one-line error; a lock, a full disk or bad data is passed on."""
        try:
            yield
        except DatabaseError as error:
            if isinstance(error, (OperationalError, DataError, IntegrityError)):
                raise
            reason = str(error.orig).splitlines()[0]
            hint = "restore it from a backup, then start again"
            raise RegistryError(f"the registry {self.name} can no longer be used: {reason}", hint=hint) from None

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_registry(where: Path | str) -> Registry:
    """Open and migrate the registry at a path or a database URL; raises `RegistryError`."""
    place = checked(where) if isinstance(where, str) else where
    name = shown(str(place))
    try:
        engine = _engine(place)
        _migrate(engine, name)
    except ImportError as error:
        hint = "pip install 'skerry-host[postgresql]'"
        raise RegistryError(f"cannot open the registry {name}: {error}", hint=hint, code="no_driver") from None
    except (DatabaseError, ArgumentError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise RegistryError(f"cannot open the registry {name}: {reason}", hint=_hint(place)) from None
    return Registry(engine, name)


def _hint(place: Path | str) -> str:
    if isinstance(place, Path) or place.startswith("sqlite"):
        return "check its path"
    return "check that the server runs, and the user, password and database of the URL; --registry names another"


def _engine(place: Path | str) -> Engine:
    if isinstance(place, Path) or place.startswith("sqlite:"):
        url = place if isinstance(place, str) else f"sqlite:///{place}"
        engine = create_engine(url, connect_args={"timeout": BUSY_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(place, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions behind SQLAlchemy's back
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={BUSY_S * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    writing = connection.get_execution_options().get("skerry_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _begin_postgresql(connection: Any) -> None:
    """Two that write rows and count their changes in another order would wait for each other otherwise."""
    if connection.get_execution_options().get("skerry_write"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _migrate(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
            if revision == HEAD:
                return
    from skerry_host.plane.registry.migrate import upgrade  # noqa: PLC0415 - it takes as long to load as most commands take

    with engine.execution_options(skerry_write=True).connect() as connection, connection.begin():
        upgrade(connection, name)
