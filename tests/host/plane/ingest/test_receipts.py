"""Receipts name exactly the reports that are stored, in whatever order they came; missing ones are counted."""

from itertools import pairwise
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from skerry_agent.wire import codec, topics
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry import migrations
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, receipts
from skerry_host.plane.registry.records.receipts import MAX_BOOTS
from skerry_host.plane.registry.telemetry.rolling import KEEP_BOOTS_S
from skerry_host.plane.registry.telemetry.spans import joined
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.gather import device_views


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
            devices.add(session, Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)
        yield opened


class Host:
    """An ingest, a clock that moves with every call, and what it would say to a device."""

    def __init__(self, registry):
        self.registry, self.now = registry, 1000.0
        self.ingest = Ingest(registry, lambda: self.now)

    def hear(self, *sequences, device="dev-1", boot="boot-1"):
        self.now += 1
        reports = [Report(device, boot, sequence, 0.0, 1.0, 1.0) for sequence in sequences]
        self.ingest.apply([Incoming(topics.telemetry(device), codec.encode(each)) for each in reports])

    def receipt(self, device="dev-1"):
        with self.registry.read() as session:
            return receipts.of(session, [device]).get(device)

    def missing(self):
        with self.registry.read() as session:
            return device_views(session, devices.all_devices(session))[0].reports_missing


@pytest.fixture
def host(registry):
    return Host(registry)


def test_a_receipt_names_what_is_stored_and_nothing_else(host):
    host.hear(0, 1, 4, 1, device="dev-1")
    host.hear(7, device="dev-2")
    assert host.receipt() == Receipt((Stored("boot-1", ((0, 1), (4, 4))),))
    assert [host.receipt().names("boot-1", n) for n in range(6)] == [True, True, False, False, True, False]
    assert not host.receipt().names("boot-2", 0)
    assert host.receipt("dev-2") == Receipt((Stored("boot-1", ((7, 7),)),))


def test_what_is_missing_is_counted_until_it_comes(host):
    host.hear(2, 3, 6)
    assert host.missing() == 4
    host.hear(0, 1, boot="boot-2")
    host.hear(5, 4)
    assert host.missing() == 2
    host.hear(0, 1)
    assert host.missing() == 0


def test_a_report_that_comes_again_is_named_again(host):
    """The receipt before may have been lost: the device would wait for ever."""
    host.hear(0)
    host.ingest.stored.get_nowait()
    host.hear(0)
    assert host.ingest.stored.get_nowait() == "dev-1"


def test_what_cannot_be_stored_is_not_named(host):
    host.hear(2**80)
    assert host.receipt() is None
    assert host.ingest.stored.empty()


def test_a_receipt_names_the_boots_heard_of_last(host):
    for boot in range(MAX_BOOTS + 3):
        host.hear(0, boot=f"boot-{boot}")
    host.hear(1, boot="boot-0")
    named = {stored.boot for stored in host.receipt().boots}
    assert named == {"boot-0", *(f"boot-{boot}" for boot in range(4, MAX_BOOTS + 3))}


def test_boots_of_long_ago_are_forgotten(host, registry):
    host.hear(0)
    with registry.write() as session:
        SqlTelemetry(session).maintain(host.now + 86400, 10)
    assert host.receipt() is not None
    with registry.write() as session:
        SqlTelemetry(session).maintain(host.now + 1 + KEEP_BOOTS_S, 10)
    assert host.receipt() is None


@given(st.lists(st.integers(0, 40), max_size=60))
def test_spans_hold_exactly_what_was_put_in(sequences):
    spans = ()
    for sequence in sequences:
        spans, closed = joined(spans, [sequence])
        assert closed == 0
    assert {n for first, last in spans for n in range(first, last + 1)} == set(sequences)
    assert all(one[1] + 1 < two[0] for one, two in pairwise(spans))
    assert joined((), sequences)[0] == spans


def test_too_many_holes_are_closed_from_the_oldest_and_counted():
    spans, closed = joined((), range(0, 100, 10), most=4)
    assert (spans, closed) == (((0, 60), (70, 70), (80, 80), (90, 90)), 54)


def test_a_registry_of_before_receipts_names_what_it_holds(tmp_path):
    """Made by the migrations of then, not by taking today's apart."""
    path = tmp_path / "old.sqlite"
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(text("INSERT INTO devices VALUES ('dev-1', 'generic-x86', '[]', '[]', 1.0)"))
        connection.execute(text("INSERT INTO twins (device, generation, settled, online) VALUES ('dev-1', 0, 1, 0)"))
        columns = "device, boot, sequence, started, uptime_s, duration_s, outbox_dropped, received, clock"
        values = "'dev-1', 'boot-1', :sequence, 1.0, 1.0, 1.0, 0, 1.0, 'device'"
        for sequence in (3, 4, 7):
            connection.execute(text(f"INSERT INTO reports ({columns}) VALUES ({values})"), {"sequence": sequence})
    engine.dispose()
    with open_registry(path) as again:
        migrated = Host(again)
        assert migrated.receipt() == Receipt((Stored("boot-1", ((0, 4), (7, 7))),))
        assert migrated.missing() == 2
