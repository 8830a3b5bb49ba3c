"""A home from before roll-ups: its telemetry is still there, once, and what its devices send again is known."""

import json
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from skerry_agent.wire import codec
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_host.plane.registry import migrations
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import receipts
from skerry_host.plane.registry.telemetry import conversion
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry

HOUR, DAY = 3600, 86_400
ROWS = {
    "reports": "id, device, boot, sequence, started, uptime_s, duration_s, clock, outbox_dropped, received",
    "model_stats": "report, model, release, inferences, errors, invalid_outputs, dropped, latency, p50_us, rss_bytes, "
    "energy_uj, energy_source, energy_method, outputs",
    "samples": "report, name, value, unit, source, method",
}


def latency(value, count):
    recorder = Recorder()
    for _ in range(count):
        recorder.add(value)
    return recorder.take()


@pytest.fixture
def now(monkeypatch):
    fixed = 1_800_000_000.0 - 1_800_000_000 % DAY
    monkeypatch.setattr("time.time", lambda: fixed)
    return fixed


class OldHome:
    """A registry as the migrations of then made it, written with the statements of then."""

    def __init__(self, path):
        self.path, self.engine, self.reports = path, create_engine(f"sqlite:///{path}"), 0
        self.rows = {table: [] for table in ROWS}
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0005")
            for device in ("dev-1", "dev-2"):
                connection.execute(text(f"INSERT INTO devices VALUES ('{device}', 'generic-x86', '[]', '[]', 1.0)"))
                connection.execute(
                    text(f"INSERT INTO twins (device, generation, settled, online) VALUES ('{device}', 0, 1, 0)")
                )

    def add(self, sequence, started, *, received=None, clock="device", inferences=10, device="dev-1"):
        self.reports += 1
        received = received or started + 60
        values = (self.reports, device, "boot-1", sequence, started, 60.0 * sequence + 100, 60.0, clock, 3, received)
        stats = (self.reports, "fashion", "fashion@1.0.0", inferences, 1, 0, 0, codec.encode(latency(900.0, 10)), 905.0,
                 50_000_000, 123.5, "modelled", "1.1 W", json.dumps({"7": 10}))  # fmt: skip
        sample = (self.reports, "power", 3.25, "W", "measured", "ina226")
        for table, row in (("reports", values), ("model_stats", stats), ("samples", sample)):
            self.rows[table].append(row)

    def receipt(self, spans, closed=0, device="dev-1"):
        row = (device, "boot-1", json.dumps(spans).encode(), closed, 1_799_999_000.0)
        with self.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO receipts VALUES (?, ?, ?, ?, ?)", row)

    def migrated(self):
        with self.engine.begin() as connection:
            for table, rows in self.rows.items():
                marks = ", ".join("?" * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO {table} ({ROWS[table]}) VALUES ({marks})", rows)
        self.engine.dispose()
        return open_registry(self.path)


@pytest.fixture
def old(tmp_path):
    return OldHome(tmp_path / "r.sqlite")


def test_old_reports_are_rolled_up_and_those_of_a_day_stay(old, now):
    first = now - 10 * DAY
    for i in range(120):
        old.add(i, first + 60 * i)
    old.add(200, now - HOUR)
    old.receipt([[0, 119], [200, 200]], closed=2)
    with old.migrated() as registry, registry.write() as session:
        store = SqlTelemetry(session)
        hours = store.series("dev-1", 0.0, now, HOUR)
        assert [(each.started, each.reports) for each in hours] == [(first, 60), (first + HOUR, 60), (now - HOUR, 1)]
        assert sum(each.reports for each in store.series("dev-1", 0.0, now, 600)) == 121
        stats, sample = hours[0].models[0], hours[0].samples[0]
        assert (stats.inferences, stats.errors, stats.outputs, stats.latency) == (
            600,
            60,
            {"7": 600},
            latency(900.0, 600),
        )
        assert (stats.energy_uj, stats.energy_source, stats.energy_method) == (
            pytest.approx(123.5),
            "modelled",
            "1.1 W",
        )
        assert (sample.name, sample.low, sample.value, sample.high) == ("power", 3.25, 3.25, 3.25)
        newest = store.newest()["dev-1"]
        assert (newest.sequence, newest.started, newest.interval.outbox_dropped) == (200, now - HOUR, 3)
        assert receipts.of(session, ["dev-1"]) == {"dev-1": Receipt((Stored("boot-1", ((0, 119), (200, 200))),))}
        assert receipts.missing(session, ["dev-1"]) == {"dev-1": 82}
        again = Report("dev-1", "boot-1", 7, first + 420, 520.0, 60.0)
        assert store.add([Arrival(again, encode_report(again))], now) == []
        while store.maintain(now + 3 * HOUR, 10):
            pass
        assert sum(each.reports for each in store.series("dev-1", 0.0, now, HOUR)) == 121


def test_a_silent_device_still_shows_its_last_figures(old, now):
    old.add(4, now - 3 * DAY)
    old.add(5, now - 3 * DAY + 60)
    with old.migrated() as registry, registry.read() as session:
        assert SqlTelemetry(session).newest()["dev-1"].sequence == 5
        assert [each.reports for each in SqlTelemetry(session).series("dev-1", 0.0, now, HOUR)] == [2]
        assert receipts.missing(session, ["dev-1"]) == {"dev-1": 4}


def test_times_that_the_host_has_worked_out_stay(old, now):
    old.add(0, now - 5 * HOUR, clock="host", received=now - 2 * HOUR)
    with old.migrated() as registry, registry.write() as session:
        store = SqlTelemetry(session)
        assert (store.newest()["dev-1"].clock, store.newest()["dev-1"].started) == ("host", now - 5 * HOUR)
        late = Report("dev-1", "boot-1", 3, 10.0, 280.0, 60.0)
        store.add([Arrival(late, encode_report(late))], now)
        assert store.newest()["dev-1"].started == now - 5 * HOUR + 180


def test_an_absurd_report_is_left_out_and_said(old, now, caplog):
    old.add(0, now - 60)
    old.add(1, now - 30, inferences=2**62)
    with old.migrated() as registry, registry.read() as session:
        assert SqlTelemetry(session).newest()["dev-1"].sequence == 0
    assert "a report of dev-1 is left out" in caplog.text


def test_many_reports_are_converted_in_parts_and_a_long_conversion_is_said(old, now, caplog, monkeypatch):
    for i in range(30):
        old.add(i, now - 2 * DAY + 60 * i)
        old.add(i, now - 2 * DAY + 60 * i, device="dev-2")
    monkeypatch.setattr(conversion, "PART", 7)
    monkeypatch.setattr(conversion, "SAY_EVERY_S", -1.0)
    with old.migrated() as registry, registry.read() as session:
        for device in ("dev-1", "dev-2"):
            assert sum(each.reports for each in SqlTelemetry(session).series(device, 0.0, now, 600)) == 30
    assert "converting telemetry: 1 of 2 devices" in caplog.text
