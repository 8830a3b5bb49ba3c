"""The registry on a real PostgreSQL: it is found again, errors are one line, and a plane does the same as on SQLite.

Tests of other modules are run again here, as many as show that everything that differs between databases is right.
"""

import itertools
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError

from skerry_host.cli import completion
from skerry_host.fleet.device import Device
from skerry_host.home import Home
from skerry_host.plane.backup import create, restore
from skerry_host.plane.errors import RegistryError
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.place import checked, chosen
from skerry_host.plane.registry.records import changes, devices, events, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import Base, TwinRow
from tests.host.plane.enrolment import test_desk, test_leaving
from tests.host.plane.ingest import test_ingest
from tests.host.plane.registry import test_changes, test_identities, test_telemetry_store
from tests.host.plane.rollouts import test_loop
from tests.kit.commands import serving, skerry
from tests.kit.enrolment import EnrolmentRig
from tests.kit.home import make_home
from tests.kit.identities import fill
from tests.kit.postgresql import postgresql

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="skerry-pg-"))
    folder.chmod(0o755)
    try:
        with postgresql(folder / "server") as running:
            open_registry(running.create("made")).close()
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def url(server):
    """A registry without a device."""
    return server.create(f"r{next(NUMBERS)}", "made")


@pytest.fixture
def registry(url):
    with open_registry(url) as opened:
        yield opened


# -- the same as on SQLite ---------------------------------------------------------------------------------------------

LOOP = (
    test_loop.test_a_device_that_rolled_back_is_not_updated_again,
    test_loop.test_an_aborted_first_deployment_leaves_no_desired_release,
    test_loop.test_an_ordered_rollback_settles_on_what_the_device_runs,
    test_loop.test_one_command_at_a_time,
)
INGEST = (
    test_ingest.test_duplicates_are_kept_once,
    test_ingest.test_an_older_message_never_replaces_a_newer_one,
    test_ingest.test_a_report_that_could_not_be_read_again_is_refused_and_spoils_no_other,
)
TELEMETRY = (
    test_telemetry_store.test_a_report_counts_once_in_a_batch_later_and_when_it_is_long_gone,
    test_telemetry_store.test_reports_go_after_a_day_and_roll_ups_when_their_tier_says,
    test_telemetry_store.test_a_series_is_cut_at_its_ends,
    test_telemetry_store.test_the_newest_report_is_the_one_measured_last_not_the_one_heard_last,
)
CHANGES = (
    test_changes.test_what_was_rolled_back_is_not_counted,
    test_changes.test_a_row_has_the_number_of_its_last_change,
)
IDENTITIES = (
    test_identities.test_what_a_revoked_device_could_come_by_is_denied_all_of_it,
    test_identities.test_a_board_that_comes_back_by_its_birth_certificate_keeps_that,
    test_identities.test_boards_that_wait_are_counted_found_and_forgotten,
)
ENROLMENT = (
    test_desk.test_a_board_becomes_the_record_of_its_serial_and_counts_once_however_often_it_asks,
    test_desk.test_a_board_that_nobody_knows_waits_with_the_code_that_it_shows_and_is_what_a_person_says,
    test_desk.test_another_board_for_a_record_waits_unless_the_record_was_provisioned_again,
    test_leaving.test_an_approval_for_a_device_that_is_revoked_since_is_void,
    test_leaving.test_a_claim_of_one_board_follows_the_record_that_is_renamed,
)


def named(test):
    return test.__name__.removeprefix("test_")


@pytest.mark.parametrize("test", LOOP, ids=named)
def test_the_rollout_loop_on_it(test, url, tmp_path):
    rig = test_loop.Rig(tmp_path / "home", url)
    with rig.registry:
        test(rig)


@pytest.mark.parametrize("test", INGEST, ids=named)
def test_ingest_into_it(test, registry):
    with registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
    test(registry, Ingest(registry, lambda: test_ingest.NOW))


@pytest.mark.parametrize("test", TELEMETRY, ids=named)
def test_telemetry_in_it(test, registry):
    test(test_telemetry_store.Host(registry))


@pytest.mark.parametrize("test", CHANGES, ids=named)
def test_changes_in_it_are_numbered(test, url):
    with test_changes.filled(url) as opened:
        test(opened)


@pytest.mark.parametrize("test", IDENTITIES, ids=named)
def test_identities_in_it(test, registry):
    with registry.write() as session:
        fill(session)
    test(registry)


@pytest.mark.parametrize("test", ENROLMENT, ids=named)
def test_enrolment_with_it(test, url, tmp_path):
    rig = EnrolmentRig(tmp_path / "home", url)
    with rig.registry:
        test(rig)


@pytest.mark.parametrize(("change", "kinds"), test_changes.CASES.values(), ids=test_changes.CASES)
def test_every_writer_to_it_counts(change, kinds, url):
    with test_changes.filled(url) as opened:
        test_changes.test_what_a_plane_decides_by_is_counted(opened, change, kinds)


def test_migrations_make_what_the_tables_say(url):
    engine = create_engine(checked(url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_many_writers_do_not_lose_a_row(url):
    def enrol(worker):
        with open_registry(url) as opened:
            for i in range(5):
                with opened.write() as session:
                    devices.add(session, Device(f"dev-{worker}-{i}", "generic-x86"), 1.0)

    threads = [threading.Thread(target=enrol, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_registry(url) as opened, opened.read() as session:
        assert len(twins.of(session, [d.id for d in devices.all_devices(session)])) == 20


# -- which registry a home has -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["--registry URL init", "init --registry URL"])
def test_the_next_command_finds_the_registry_and_the_password_stays_its_owners(url, tmp_path, before):
    home, option = Home(tmp_path / "home"), ["--registry", url]
    said = skerry(home, *option, "init") if before else skerry(home, "init", *option)
    skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", "mqtt://h:1")
    with open_registry(url) as opened, opened.read() as session:
        assert [each.id for each in devices.all_devices(session)] == ["dev-1"]
    assert not home.registry.exists()
    assert stat.S_IMODE((home.root / "registry.url").stat().st_mode) == 0o600
    assert "s3cret" not in said.stdout + skerry(home, "doctor", check=False).stdout


def test_names_in_it_are_completed(url, tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    skerry(home, "init", "--registry", url)
    skerry(home, "device", "provision", "dev-1", "--board", "generic-x86")
    monkeypatch.setitem(os.environ, "SKERRY_HOME", str(home.root))
    assert list(completion.devices()) == ["dev-1"]


def test_serve_moves_a_home_to_another_registry_and_says_what_stays(url, tmp_path):
    home = Home(tmp_path / "home")
    skerry(home, "init")
    with serving(home, "--registry", url, "--port", "0", "--http-port", "0"):
        skerry(home, "device", "provision", "dev-1", "--board", "generic-x86")
        with open_registry(url) as opened, opened.read() as session:
            assert [each.id for each in devices.all_devices(session)] == ["dev-1"]
    assert f"the registry of before, {home.registry}, stays" in (home.root / "serve.log").read_text()


def test_a_file_of_passwords_is_read(server, url, tmp_path, monkeypatch):
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{server.port}:*:skerry:s3cret\n")
    passwords.chmod(0o600)
    monkeypatch.setitem(os.environ, "PGPASSFILE", str(passwords))
    open_registry(url.replace(":s3cret@", "@")).close()


# -- backups -----------------------------------------------------------------------------------------------------------

PHRASE = "five random words of a test"


def back_up(home, where, file):
    return create.create(create.Source(home, where, "0"), file, PHRASE, 1.0, work=4)


def rows(where):
    """Every row of a registry but what says who serves it, and the numbers of its changes, which only go up."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in {"changes", "heartbeats", "events"}]
    with open_registry(where) as opened, opened.read() as session:
        found = {table.name: session.execute(table.select()).mappings().all() for table in tables}
    return {name: sorted(str(dict(row) | {"changed": 0}) for row in each) for name, each in found.items()}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def backed_up(request, url, tmp_path):
    """A backup of a registry of either kind that has been used, and that registry."""
    rig = test_loop.Rig(tmp_path / "home", url if request.param == "PostgreSQL" else None)
    with rig.registry:
        test_loop.test_an_ordered_rollback_settles_on_what_the_device_runs(rig)
    where = url if request.param == "PostgreSQL" else rig.home.registry
    back_up(rig.home, where, tmp_path / "b")
    return tmp_path / "b", where


@pytest.mark.parametrize("to", ["SQLite", "PostgreSQL"])
def test_a_backup_of_either_kind_is_restored_to_either_kind(backed_up, server, tmp_path, to):
    file, where = backed_up
    there = server.create(f"r{next(NUMBERS)}") if to == "PostgreSQL" else None
    restore.restore(file, PHRASE, Home(tmp_path / "again"), there, 2.0)
    again = there or tmp_path / "again" / "registry.sqlite"
    assert rows(again) == rows(where)
    assert (tmp_path / "again" / "registry.sqlite").exists() == (there is None)
    with open_registry(again) as opened, opened.write() as session:
        events.add(session, Event(3.0, "new", "x", "has a number of its own"))
        assert events.latest(session, 2)[1].kind == "restored"
        assert all(twin.changed <= changes.now(session).twins for twin in session.scalars(select(TwinRow)))
    if there:
        assert chosen(Home(tmp_path / "again")) == checked(there)


def test_a_backup_is_not_restored_into_a_database_that_is_used(url, tmp_path):
    home = make_home(tmp_path / "home")
    back_up(home, home.registry, tmp_path / "b")
    with open_registry(url) as opened, opened.write() as session:
        devices.add(session, Device("mine", "generic-x86"), 1.0)
    before = rows(url)
    with pytest.raises(RegistryError, match="holds a fleet already"):
        restore.restore(tmp_path / "b", PHRASE, Home(tmp_path / "again"), url, 2.0)
    assert rows(url) == before
    assert not (tmp_path / "again").exists()


def test_a_backup_is_of_one_moment_while_rows_are_written(url, tmp_path):
    """Each transaction enrols two: none of the copies has one of them without the other."""
    home, ending = make_home(tmp_path / "home"), threading.Event()

    def enrol():
        with open_registry(url) as opened:
            for number in itertools.takewhile(lambda _: not ending.is_set(), itertools.count()):
                with opened.write() as session:
                    devices.add(session, Device(f"a-{number}", "generic-x86"), 1.0)
                    devices.add(session, Device(f"b-{number}", "generic-x86"), 1.0)

    writer = threading.Thread(target=enrol)
    writer.start()
    try:
        sizes = [back_up(home, url, tmp_path / f"b{n}").contents.devices for n in range(3)]
    finally:
        ending.set()
        writer.join()
    assert [size % 2 for size in sizes] == [0, 0, 0]
    restore.restore(tmp_path / "b2", PHRASE, Home(tmp_path / "again"), None, 2.0)
    assert len(rows(tmp_path / "again" / "registry.sqlite")["twins"]) == sizes[2]


def test_a_registry_elsewhere_is_in_the_home_after_a_restore_unless_something_is_said(url, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "SKERRY_PASSPHRASE", PHRASE)
    home = Home(tmp_path / "home")
    skerry(home, "init", "--registry", url)
    skerry(home, "backup", str(tmp_path / "b"))
    said = skerry(home, "restore", str(tmp_path / "b"), "--home", str(tmp_path / "again"), "--json").stdout
    facts = msgspec.json.decode(said)
    assert facts["now_in"] == str(tmp_path / "again" / "registry.sqlite")
    assert facts["registry"].startswith("postgresql://skerry:***@")
    assert "s3cret" not in said
    assert not (tmp_path / "again" / "registry.url").exists()


# -- what cannot be used -----------------------------------------------------------------------------------------------


def refused(url, tmp_path):
    """What `skerry init` says about a registry, in one line and without a password."""
    home = Home(tmp_path / "home")
    done = skerry(home, "init", "--registry", url, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot open the registry postgresql://skerry:***@127.0.0.1:") or (
        "cannot migrate the registry" in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert url.split(":")[2].split("@")[0] not in done.stderr
    assert not (home.root / "registry.url").exists()
    return done.stderr


def test_a_wrong_password(server, tmp_path):
    assert "password authentication failed" in refused(server.url("made", "wr0ng-one"), tmp_path)


def test_a_database_that_is_not_there(server, tmp_path):
    assert 'database "nowhere" does not exist' in refused(server.url("nowhere"), tmp_path)


def test_a_server_that_does_not_run(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'skerry-host[postgresql]'")
    assert "Connection refused" in refused("postgresql://skerry:s3cret@127.0.0.1:9/x", tmp_path)


def test_a_newer_schema(url, tmp_path):
    with open_registry(url) as opened, opened.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "it was written by a newer Skerry" in refused(url, tmp_path)


def test_a_server_that_is_restarted_is_used_again(server, registry):
    server.stop()
    with pytest.raises((OperationalError, RegistryError)), registry.read() as session:
        devices.all_devices(session)
    server.start()
    with registry.read() as session:
        assert devices.all_devices(session) == []
