"""Wherever energy and power are shown, they come with their uncertainty and no digit more than they carry."""

import json
import time

import pytest
from starlette.testclient import TestClient

from skerry_agent.wire import codec
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_agent.wire.twin import ModelReport, Reported
from skerry_host.cli.demo.outcome import device_outcome
from skerry_host.plane.heartbeat import HeartbeatWriter
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import twins
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from tests.kit.commands import provision, skerry
from tests.kit.home import add_release, make_home, model_bytes

TICKS_UJ = 2142.857
"""3 ticks of 10 ms of a core of 1.5 W, for 21 inferences."""
TEXT, POWER = "2.1 ± 0.8 mJ", "3.8 ± 1.3 W"
SPURIOUS = ("2143", "2142", "2.14 ", "3.75")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("energy")
    home = make_home(folder / "home")
    add_release(home, "1.0.0", model_bytes("a", 1000))
    provision(home, "dev-1", folder / "d")
    recorder = Recorder()
    recorder.add(900.0)
    stats = ModelStats(
        "fashion", "fashion@1.0.0", 21, 0, latency=recorder.take(),
        energy_uj=TICKS_UJ, energy_source="modelled", energy_method="1.5 W x busy cores, +-35%",
        energy_relative_uncertainty=0.39,
    )  # fmt: skip
    power = Sample("power", 3.75, "W", "modelled", "3 W + 1.5 W x busy cores, +-35%", 0.35)
    now = time.time()
    report = Report("dev-1", "boot", 0, now - 60, 1000.0, 60.0, (stats,), (power,))
    with open_registry(home.registry) as opened, opened.write() as session:
        SqlTelemetry(session).add([Arrival(report, encode_report(report, 3))], now)
        models = {"fashion": ModelReport("idle", serving=True)}
        twin = Reported("dev-1", "boot", 1, 1, "0.1.0", "generic-x86", ("cpu",), models)
        twins.accept_reported(session, twin, codec.encode(twin), now)
    with open_registry(home.registry) as opened, HeartbeatWriter(opened, time.time):
        yield home


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("monitor", "--once"), [TEXT]),
        (("device", "show", "dev-1"), [TEXT, POWER]),
        (("device", "history", "dev-1"), [TEXT]),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_on_the_terminal(home, words, expected):
    shown = skerry(home, *words).stdout
    assert [text for text in expected if text not in shown] == []
    assert [digits for digits in SPURIOUS if digits in shown] == []


def test_on_the_page_and_for_programs(home):
    with (
        open_registry(home.registry) as opened,
        TestClient(application(opened, lambda: Counters({}, 0, 0, True)), "http://127.0.0.1") as client,
    ):
        pages = [client.get(path).text for path in ("/", "/devices/dev-1")]
        metrics = client.get("/metrics").text
        (device,) = client.get("/api/v1/overview").json()["devices"]
    assert all(TEXT in page and POWER in page for page in pages)
    assert [digits for digits in SPURIOUS for page in pages if digits in page] == []
    assert 'skerry_device_energy_relative_uncertainty{device="dev-1"' in metrics
    assert device["models"][0]["points"][-1]["energy_relative_uncertainty"] == 0.39


def test_in_json_with_the_uncertainty_beside_it(home):
    data = json.loads(skerry(home, "device", "show", "dev-1", "--json").stdout)["device"]
    assert data["models"][0]["points"][-1]["energy_relative_uncertainty"] == 0.39
    assert data["samples"][0]["relative_uncertainty"] == 0.35


def test_in_the_outcome_of_the_demo(home):
    with open_registry(home.registry) as opened:
        outcome = device_outcome(opened, "dev-1", "fashion@1.0.0")
    assert (outcome.energy_uj, outcome.energy_relative_uncertainty) == (TICKS_UJ, pytest.approx(0.39))
