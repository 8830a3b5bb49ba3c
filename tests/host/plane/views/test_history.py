"""Histories: intervals when they were measured, not when they came, in a period that fits the time asked for."""

import json
import time

import pytest
from starlette.testclient import TestClient

from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.gather import device_views
from skerry_host.plane.views.history import MOST_POINTS, REPORTS_S, fitting
from skerry_host.plane.web.app import application
from tests.kit.commands import skerry
from tests.kit.home import make_home

HOUR, DAY = 3600, 86_400


def report(sequence, started):
    recorder = Recorder()
    recorder.add(900.0)
    stats = ModelStats("fashion", "fashion@1.0.0", 120, 0, latency=recorder.take())
    sample = Sample("temperature", 40.0 + sequence, "degC", "measured", "cpu-thermal")
    return Report("dev-1", "boot-1", sequence, started, 60.0 * sequence + 100, 60.0, (stats,), (sample,))


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def began(home):
    """Six reports that were measured two days ago, a minute apart, and have come just now."""
    now = time.time()
    began = now - 2 * DAY - now % DAY
    reports = [report(i, began + 60 * i) for i in range(6)]
    with open_registry(home.registry) as registry, registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), 1.0)
        SqlTelemetry(session).add([Arrival(each, encode_report(each)) for each in reports], now)
        while SqlTelemetry(session).maintain(now + 60, 10):
            pass
    return began


def test_charts_are_of_when_it_was_measured(home, began):
    with open_registry(home.registry) as registry, registry.read() as session:
        reports = SqlTelemetry(session).recent(["dev-1"], 40)["dev-1"]
        view = device_views(session, devices.all_devices(session))[0]
    assert [each.started for each in reports] == [began + 60 * i for i in range(6)]
    assert all(point.at < time.time() - DAY for model in view.models for point in model.points)


def test_the_api_gives_intervals_of_a_period(home, began):
    with open_registry(home.registry) as registry:
        client = TestClient(application(registry, dict), base_url="http://localhost")
        found = client.get("/api/v1/devices/dev-1/history?span=14d&period=10m").json()
        (point,), (sample,) = found["models"]["fashion"], found["samples"]["temperature"]
        assert (found["period_s"], point["at"], point["inferences_per_s"]) == (600, began, 2.0)
        assert point["p95_us"] == pytest.approx(900, rel=0.01)
        assert (sample["low"], sample["value"], sample["high"], sample["unit"]) == (40.0, 42.5, 45.0, "degC")
        assert client.get("/api/v1/devices/dev-1/history").json()["models"] == {}
        for wrong, status in (("dev-1/history?span=soon", 400), ("dev-1/history?period=7m", 400), ("x/history", 404)):
            answer = client.get(f"/api/v1/devices/{wrong}")
            assert (answer.status_code, bool(answer.json()["hint"])) == (status, True)


def test_the_page_charts_the_time_that_is_chosen(home, began):
    with open_registry(home.registry) as registry:
        client = TestClient(application(registry, dict), base_url="http://localhost")
        for span in ("", "?span=24h", "?span=14d", "?span=365d", "?span=nonsense"):
            assert client.get(f"/devices/dev-1{span}").status_code == 200


def test_the_command_shows_it(home, began):
    shown = json.loads(skerry(home, "device", "history", "dev-1", "--span", "14d", "--json").stdout)
    assert [point["at"] // HOUR for point in shown["models"]["fashion"]] == [began // HOUR]
    assert "fashion@1.0.0" in skerry(home, "device", "history", "dev-1", "--span", "14d").stdout
    assert "has measured nothing in 1h" in skerry(home, "device", "history", "dev-1", "--span", "1h").stdout


@pytest.mark.parametrize("span", [60, HOUR, 6 * HOUR, DAY, 14 * DAY, 365 * DAY])
def test_a_period_fits_the_time(span):
    period = fitting(span)
    assert (span <= REPORTS_S) if period == 0 else 20 < span / period <= MOST_POINTS
