"""The numbers of changes: every writer counts up what a plane decides by, and nothing else does."""

import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text, update

from skerry_agent.wire import codec
from skerry_agent.wire.twin import Desired, DeviceState, Reported
from skerry_host.fleet.device import Device
from skerry_host.plane.registry import migrations
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, changes, claims, devices, events, identities, twins
from skerry_host.plane.registry.records.parts import MOST, parts
from skerry_host.plane.registry.tables import DeploymentRow, DeviceRow, OrderRow, RolloutRow, TwinRow
from skerry_host.plane.rollouts.active import ActiveRollouts
from tests.kit.identities import KEYS, waiting_board

ALARM = alarms.Alarm("dev-1", "cloned", 1.0, 1.0, "two devices")


@pytest.fixture
def registry(tmp_path):
    with filled(tmp_path / "r.sqlite") as opened:
        yield opened


@contextmanager
def filled(where):
    """A registry with a row of each kind that is counted."""
    with open_registry(where) as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
            session.add(RolloutRow(id="r", release="m@1", selection="all", policy=b"{}", state="running", created=1.0))
            session.flush()
            row = {"model": "m", "release": "m@1", "target": "cpu", "created": 1.0}
            session.add(DeploymentRow(id="d", rollout="r", device="dev-1", **row))
            session.add(OrderRow(id="o", device="dev-1", kind="rollback", state="pending", created=1.0))
            identities.add_certificate(session, identities.Certificate("01", "dev-1", "device", "a" * 64, 9.0))
            claims.add(session, claims.Wanted("generic-x86", (), 9.0, 3), 1.0)
            claims.wait(session, waiting_board())
            alarms.sound(session, replace(ALARM, kind="tampering"))
        yield opened


def renew(session):
    identities.add_certificate(session, identities.Certificate("02", "dev-1", "device", "a" * 64, 9.0))


def desire(session):
    twins.store_desired(session, Desired("dev-1", 1, 1.0), b"signed")


def report(session):
    said = Reported("dev-1", "b", 1, 0, "0.1", "generic-x86", ("cpu",))
    assert twins.accept_reported(session, said, codec.encode(said), 2.0)


def be_born(session):
    assert twins.accept_state(session, DeviceState("dev-1", "b", 1, online=True), 2.0)


def enrol(session):
    devices.add(session, Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)


def changed(row, key, **values):
    def change(session):
        for name, value in values.items():
            setattr(session.get_one(row, key), name, value)

    return change


CASES = {
    "a desired state": (desire, {"twins"}),
    "a reported state": (report, {"twins"}),
    "a birth": (be_born, set()),
    "a device that was seen": (lambda session: twins.seen(session, ["dev-1"], 9.0), set()),
    "an event": (lambda session: events.add(session, events.Event(1.0, "k", "s", "t")), set()),
    "a new device": (enrol, {"devices", "twins"}),
    "a rollout's state": (changed(RolloutRow, "r", state="aborting"), {"rollouts"}),
    "a deployment that was sent": (changed(DeploymentRow, "d", sent=2.0), {"deployments"}),
    "a deployment's bytes": (changed(DeploymentRow, "d", bytes_received=9), set()),
    "an order": (changed(OrderRow, "o", state="sent"), {"orders"}),
    "an identity": (lambda session: identities.bind(session, "dev-1", KEYS, 2.0), {"identities"}),
    "a renewed certificate": (renew, set()),
    "a revoked device": (lambda session: identities.revoke(session, "dev-1", "lost", 2.0), {"identities"}),
    "a claim that is used": (lambda session: claims.use(session, 1), {"identities"}),
    "an alarm": (lambda session: alarms.sound(session, ALARM), {"alarms"}),
    "an alarm that lasts": (lambda session: alarms.sound(session, replace(ALARM, kind="tampering", last=90.0)), set()),
    "an alarm that ends": (lambda session: alarms.end(session, "dev-1", 9.0), {"alarms"}),
    "a board that waits": (lambda session: claims.wait(session, waiting_board()), set()),
    "a board that waits anew": (lambda session: session.add(waiting_board("c" * 64)), {"pending"}),
    "a board that waits no longer": (lambda session: claims.forget(session, "b" * 64), {"pending"}),
    "many rows in one statement": (lambda s: s.execute(update(DeploymentRow).values(heard=3.0)), {"deployments"}),
    "a row that was deleted": (lambda session: session.delete(session.get_one(OrderRow, "o")), {"removed"}),
}


@pytest.mark.parametrize(("change", "kinds"), CASES.values(), ids=CASES)
def test_what_a_plane_decides_by_is_counted(registry, change, kinds):
    before = numbers(registry)
    with registry.write() as session:
        change(session)
    after = numbers(registry)
    assert {kind for kind in changes.Changes.__slots__ if getattr(before, kind) != getattr(after, kind)} == kinds


def test_what_was_rolled_back_is_not_counted(registry):
    before = numbers(registry)
    with pytest.raises(KeyError), registry.write() as session:
        _fail_after(session, desire)
    assert numbers(registry) == before


def _fail_after(session, change):
    change(session)
    session.flush()
    raise KeyError


def test_a_row_has_the_number_of_its_last_change(registry):
    with registry.write() as session:
        enrol(session)
    with registry.read() as session:
        seen = changes.now(session).twins
        assert dict(twins.changed(session, seen - 1)) == {"dev-2": True}
        assert dict(twins.changed(session, seen)) == {}
    with registry.write() as session:
        desire(session)
    with registry.read() as session:
        assert dict(twins.changed(session, seen)) == {"dev-1": True}
        assert twins.generations(session, seen) == {"dev-1": 1}


def test_another_program_is_counted_too(registry, tmp_path):
    """Whoever repairs a registry by hand uses none of our code."""
    before = numbers(registry)
    with sqlite3.connect(tmp_path / "r.sqlite") as other:
        other.execute("UPDATE twins SET generation = 7")
    other.close()
    assert numbers(registry).twins == before.twins + 1


def test_what_was_there_before_changes_were_numbered_is_read(tmp_path):
    """A home of the release before: nothing in it has a number, and everything is new to a plane that starts."""
    engine, config = create_engine(f"sqlite:///{tmp_path}/r.sqlite"), Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(text("INSERT INTO devices VALUES ('dev-1', 'generic-x86', '[]', '[]', 1.0)"))
        connection.execute(
            text("INSERT INTO twins (device, generation, settled, online, envelope) VALUES ('dev-1', 3, 0, 0, 'x')")
        )
    engine.dispose()
    with open_registry(tmp_path / "r.sqlite") as registry:
        with registry.read() as session:
            assert twins.generations(session, changes.NOTHING.twins) == {"dev-1": 3}
            seen = changes.now(session).twins
        with registry.write() as session:
            desire(session)
        with registry.read() as session:
            assert dict(twins.changed(session, seen)) == {"dev-1": True}


def test_long_lists_are_cut():
    assert [len(part) for part in parts(map(str, range(2 * MOST + 1)))] == [MOST, MOST, 1]
    assert list(parts([])) == []


def test_the_triggers_are_of_columns_that_there_are(registry):
    """SQLite takes a trigger on a column that does not exist without a word."""
    from skerry_host.plane.registry.migrations.versions.v0008_changes import NUMBERED

    for row in (TwinRow, DeploymentRow):
        columns = NUMBERED[row.__tablename__][1].split(", ")
        assert set(columns) <= {column.name for column in row.__table__.columns}
    assert DeviceRow.__tablename__ == "devices"


def numbers(registry):
    with registry.read() as session:
        return changes.now(session)


def test_a_backup_that_is_restored_is_read_anew(registry, tmp_path):
    """Its numbers go back, and what they then count up to again was seen already, for other rows."""
    with sqlite3.connect(tmp_path / "r.sqlite") as live, sqlite3.connect(tmp_path / "backup") as backup:
        live.backup(backup)
        before = numbers(registry)
        for change in (desire, enrol):
            with registry.write() as session:
                change(session)
        seen = numbers(registry)
        assert seen.goes_on_from(before)
        backup.backup(live)
    assert not numbers(registry).goes_on_from(seen)
    assert numbers(registry).goes_on_from(before)
    with registry.write() as session:
        session.delete(session.get_one(OrderRow, "o"))
    assert not numbers(registry).goes_on_from(before)


def test_a_plane_that_serves_sees_a_backup_that_is_restored(registry, tmp_path):
    active = ActiveRollouts()

    def outcomes():
        with registry.read() as session:
            active.refresh(session)
        return [member.outcome for rollout in active.rollouts for member in active.members(rollout)]

    with sqlite3.connect(tmp_path / "r.sqlite") as live, sqlite3.connect(tmp_path / "backup") as backup:
        live.backup(backup)
        assert outcomes() == [None]
        with registry.write() as session:
            changed(DeploymentRow, "d", outcome="succeeded")(session)
        assert outcomes() == ["succeeded"]
        backup.backup(live)
    assert outcomes() == [None]
