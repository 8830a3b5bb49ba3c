"""The serving plane in this process, over a real broker: what it acknowledges, also when it cannot write."""

import time
from contextlib import contextmanager

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from skerry_agent.wire import codec, topics
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import READ, encode_report
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.broker import choose, free_port
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.errors import RegistryError
from skerry_host.plane.ingest.inbox import Inbox
from skerry_host.plane.registry.database import Registry, open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.tables import BlockRow
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.service import Service, run_each
from tests.kit.brokers import Mosquitto
from tests.kit.home import make_home
from tests.kit.plane import served
from tests.kit.waiting import eventually

REPORT = Report("dev-1", "boot-1", 0, 0.0, 1.0, 1.0)


class Sick(Registry):
    """A registry that takes nothing until it is `well`."""

    def __init__(self, inner):
        self._inner, self.well = inner, False
        self.read, self.close = inner.read, inner.close

    @contextmanager
    def write(self):
        if not self.well:
            raise OperationalError("INSERT", {}, Exception("disk I/O error"))
        with self._inner.write() as session:
            yield session


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def registry(home):
    with open_registry(home.registry) as opened:
        with opened.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
        yield opened


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def device(broker):
    """What a device would hear and say, with its receipts."""
    heard = []
    link = Link(f"mqtt://127.0.0.1:{broker.port}", "dev-1", [topics.receipt("dev-1")], heard.append)
    link.start()
    yield link, heard
    link.stop()


def said(link):
    """The device says its report, again and again: the plane may not have subscribed yet."""
    return link.publish([Outgoing(topics.telemetry("dev-1"), codec.encode(REPORT), retain=False)])


def rows(registry):
    with registry.read() as session:
        return [report.sequence for report in SqlTelemetry(session).reports("dev-1", -1e12, 4e12)]


def test_what_is_stored_is_said_to_the_device(home, registry, broker, device):
    link, heard = device
    with served(home, registry, broker.port):
        eventually(lambda: said(link) and heard, "the receipt")
    assert codec.decode(heard[0].payload, Receipt) == Receipt((Stored("boot-1", ((0, 0),)),), reads=READ)
    assert rows(registry) == [0]


def test_what_cannot_be_written_is_neither_acknowledged_nor_said_to_be_stored(home, registry, broker, device):
    """The broker delivers it again to the next plane."""
    link, heard = device
    sick = Sick(registry)
    with served(home, sick, broker.port) as service:
        eventually(lambda: said(link) and service.counters().waiting, "the plane has it, and cannot write it")
    assert (heard, rows(registry)) == ([], [])
    with served(home, registry, broker.port):
        eventually(lambda: rows(registry) == [0], "it comes again")
        eventually(lambda: heard, "the receipt")


def test_a_plane_goes_on_when_the_registry_can_be_written_again(home, registry, broker, device):
    link, _ = device
    sick = Sick(registry)
    with served(home, sick, broker.port) as service:
        eventually(lambda: said(link) and service.counters().waiting, "the plane has it, and cannot write it")
        sick.well = True
        eventually(lambda: rows(registry) == [0], "it is written at last")


def test_what_cannot_be_written_waits_at_the_broker(home, registry, broker, device, monkeypatch):
    """Memory holds so much and no more; nothing that was promised is lost, and what was not is counted."""
    monkeypatch.setattr("skerry_host.plane.service.Inbox", lambda: Inbox(10))
    link, _ = device
    sick = Sick(registry)
    with served(home, sick, broker.port) as service:
        eventually(lambda: said(link) and service.counters().waiting, "the plane has it, and cannot write it")
        reports = [codec.encode(replace(REPORT, sequence=number)) for number in range(60)]
        assert link.publish([Outgoing(topics.telemetry("dev-1"), raw, retain=False) for raw in reports])
        eventually(lambda: service.counters().waiting == 10, "the inbox is full")
        assert not rows(registry)
        sick.well = True
        eventually(lambda: sorted(rows(registry)) == list(range(60)), "all are written at last")
        assert (service.counters().connections, service.counters().waiting) == (1, 0)
        assert service.counters().messages["dropped"] == 0


@pytest.mark.parametrize("name", ["ask", "renew", "desired", "command"])
def test_a_device_may_be_called_as_a_topic_ends(home, registry, broker, device, name):
    """Its reports were taken for orders and never acknowledged: without access rules, 4,000 of them muted the plane."""
    link, _ = device
    with registry.write() as session:
        devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
    raw = codec.encode(replace(REPORT, device=name))
    with served(home, registry, broker.port) as service:
        message = Outgoing(topics.telemetry(name), raw, retain=False)
        eventually(lambda: link.publish([message]) and service.ingest.counts["accepted"], "its report is stored")


def test_what_a_device_had_retained_among_its_reports_is_cleared(home, registry, broker, device):
    link, _ = device
    where = "skerry/v1/t/zz/dev-1"
    assert link.publish([Outgoing(where, b"x" * 1000)])
    with served(home, registry, broker.port):
        eventually(lambda: not link.retained([where], 0.2), "it is cleared")


def test_telemetry_is_rolled_up_while_it_serves(home, registry, broker):
    """A report of this morning, and of a device that is not connected."""
    began = time.time() - 5 * 3600
    report = Report("dev-1", "boot-1", 0, began, 100.0, 60.0)
    with registry.write() as session:
        SqlTelemetry(session).add([Arrival(report, encode_report(report))], began + 60)
    with served(home, registry, broker.port):
        eventually(lambda: _blocks(registry) == [600, 3600], "it is in both tiers")


def _blocks(registry):
    with registry.read() as session:
        return sorted(session.scalars(select(BlockRow.period_s)))


def test_a_registry_that_is_none_any_more_ends_the_plane_and_acknowledges_nothing(home, registry, broker, device):
    link, heard = device
    address = f"mqtt://127.0.0.1:{broker.port}"
    with choose(home.broker, address, free_port()) as chosen, Service(home, registry, chosen) as service:
        registry.close()
        home.registry.write_bytes(b"no database at all " * 500)
        link.publish([Outgoing(topics.telemetry("dev-1"), codec.encode(REPORT), retain=False)])
        with pytest.raises(RegistryError, match="can no longer be used"):
            service.run()
    assert heard == []
    assert service.ingest.counts["malformed"] == 0


def test_a_step_that_fails_over_its_own_data_holds_up_none_after_it():
    done, noted = [], []

    def damaged():
        raise WireError("desired", ["not JSON"])

    run_each((lambda: done.append(1), damaged, lambda: done.append(2)), noted.append)
    assert (done, [error.code for error in noted]) == ([1, 2], ["malformed"])


def test_what_concerns_the_plane_as_a_whole_ends_the_tick():
    def gone():
        raise RegistryError("it is no database")

    with pytest.raises(RegistryError):
        run_each((gone,), lambda _: None)
