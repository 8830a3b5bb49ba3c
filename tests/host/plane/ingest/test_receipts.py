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
from skerry_agent.wire.report_forms import READ
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.ingest.receipts import Receipts
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


# -- when a receipt is sent --------------------------------------------------------------------------------------------


class FakeLink:
    """A connection that takes everything, while it is there."""

    def __init__(self):
        self.connected, self.sent = True, []

    def publish(self, messages):
        self.sent += messages
        return self.connected


class Sender:
    """What the plane would send to a device that reports every so often; some of its reports are really stored."""

    def __init__(self, host):
        self.host, self.link = host, FakeLink()
        self.receipts = Receipts(host.registry, self.link, host.ingest.stored, lambda: host.now)
        host.hear(0)

    def hear(self, count, every_s, at_a_time=1):
        for place in range(count // at_a_time):
            self.receipts.send()
            self.host.now += every_s * at_a_time
            if place % 4 == 3:
                self.host.hear(place)
            for _ in range(at_a_time):
                self.host.ingest.stored.put("dev-1")
        return len(self.link.sent)

    @property
    def last(self):
        assert self.link.sent[-1].topic == topics.receipt("dev-1")
        return codec.decode(self.link.sent[-1].payload, Receipt)


@pytest.fixture
def sender(host):
    return Sender(host)


def test_the_first_report_is_confirmed_at_once_and_says_what_is_read(sender):
    assert sender.hear(1, every_s=60) == 1
    assert sender.last == Receipt((Stored("boot-1", ((0, 0),)),), reads=READ)


@pytest.mark.parametrize(
    ("every_s", "at_a_time", "reports", "most"),
    [(60, 1, 60, 20), (10, 1, 120, 8), (1200, 1, 32, 12), (0.1, 20, 400, 25)],
    ids=["usual", "watched", "metered", "was away"],
)
def test_one_receipt_confirms_many_reports(sender, every_s, at_a_time, reports, most):
    assert reports // 21 <= sender.hear(reports, every_s, at_a_time) <= most


def test_what_could_not_be_sent_is_sent_with_the_next_report(sender):
    sender.link.connected = False
    sender.hear(3, every_s=60)
    assert sender.link.sent == []
    sender.link.connected = True
    sender.hear(1, every_s=60)
    assert sender.last.names("boot-1", 0)


def test_a_clock_that_is_set_back_holds_up_no_receipt(sender):
    sender.hear(1, every_s=60)
    sender.host.now -= 50_000
    assert sender.hear(6, every_s=60) >= 2


def test_boots_that_report_no_more_are_not_named_each_time(sender):
    sender.host.now += 86_400
    sender.host.hear(0, boot="boot-2")
    sender.hear(1, every_s=60)
    assert [stored.boot for stored in sender.last.boots] == ["boot-2"]


def test_a_device_that_tries_settings_has_each_report_confirmed_at_once_while_it_may(host):
    """It takes a receipt for the proof that it is heard over a new broker; the usual hour would be too late."""
    sender = Sender(host)
    sender.receipts = Receipts(host.registry, sender.link, host.ingest.stored, lambda: host.now, host.ingest.trials)
    sender.hear(2, every_s=60)
    sender.receipts.send()
    sent = len(sender.link.sent)
    host.ingest.trials.put(("dev-1", host.now + 120.0))
    sender.receipts.send()
    assert len(sender.link.sent) == sent + 1, "also of what came just before the trial was heard of"
    assert sender.hear(2, every_s=10) == sent + 2
    sender.receipts.send()
    sent = len(sender.link.sent)
    host.now += 120.0
    assert sender.hear(3, every_s=10) == sent, "then as usual again"
