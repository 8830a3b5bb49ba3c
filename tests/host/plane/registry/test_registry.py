"""The registry's schema, its locks and its errors."""

import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from skerry_host.fleet.device import Device
from skerry_host.plane.errors import RegistryError, UnknownError
from skerry_host.plane.registry import migrations
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.registry.tables import Base


def test_migrations_make_what_the_tables_say(tmp_path):
    open_registry(tmp_path / "r.sqlite").close()
    engine = create_engine(f"sqlite:///{tmp_path}/r.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_many_processes_worth_of_writers_do_not_lose_a_row(tmp_path):
    def enrol(worker):
        with open_registry(tmp_path / "r.sqlite") as registry:
            for i in range(10):
                with registry.write() as session:
                    devices.add(session, Device(f"dev-{worker}-{i}", "generic-x86"), 1.0)

    threads = [threading.Thread(target=enrol, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_registry(tmp_path / "r.sqlite") as registry, registry.read() as session:
        assert len(twins.of(session, [d.id for d in devices.all_devices(session)])) == 60


def test_a_write_that_raises_leaves_nothing(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as registry:
        with pytest.raises(UnknownError), registry.write() as session:
            _twice(session)
        with registry.read() as session:
            assert devices.all_devices(session) == []


def _twice(session):
    for _ in range(2):
        devices.add(session, Device("dev-1", "generic-x86"), 1.0)


def test_the_same_device_twice_is_refused(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as registry, registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86"), 1.0)
        with pytest.raises(UnknownError, match="dev-1 is already enrolled"):
            devices.add(session, Device("dev-1", "generic-x86"), 1.0)


def test_what_is_not_a_registry_is_one_line(tmp_path):
    (tmp_path / "r.sqlite").write_bytes(b"this is no database, but it is long enough to be taken for one" * 99)
    with pytest.raises(RegistryError, match="file is not a database") as caught:
        open_registry(tmp_path / "r.sqlite")
    assert "\n" not in str(caught.value)
    with pytest.raises(RegistryError, match="unable to open"):
        open_registry(tmp_path / "nowhere" / "r.sqlite")
    with pytest.raises(RegistryError):
        open_registry("nosuchdb://host/x")


def test_a_driver_that_is_missing_is_one_line_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RegistryError, match=r"pip install 'skerry-host\[postgresql\]'") as caught:
        open_registry("postgresql://ann:secret@db.example/skerry")
    assert "secret" not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path):
    open_registry(tmp_path / "r.sqlite").close()
    with sqlite3.connect(tmp_path / "r.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(RegistryError, match="newer Skerry"):
        open_registry(tmp_path / "r.sqlite")


def test_a_registry_that_is_none_any_more_is_one_line(tmp_path):
    """It is nobody's message, so nothing is refused for it, and waiting does not help."""
    path = tmp_path / "r.sqlite"
    with open_registry(path) as registry:
        with registry.write() as session:
            devices.add(session, Device("dev-1", "generic-x86"), 1.0)
        registry.close()
        path.write_bytes(b"no database at all " * 500)
        for use in (registry.read, registry.write):
            with (
                pytest.raises(RegistryError, match=r"can no longer be used: file is not a database"),
                use() as session,
            ):
                devices.all_devices(session)
