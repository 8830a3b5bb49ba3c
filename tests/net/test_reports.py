"""Case 28 over the network: what the agent has once kept of its telemetry is in the host's database, and there once.

A real agent loop is killed (-9) again and again while a proxy cuts the connection and loses acknowledgements, so that
reports come again; the host's own link and ingest write into its registry. Each boot's reports are numbered, so what is
lost is a gap and what came twice is a row.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Link
from skerry_host.plane.ingest.ingest import SUBSCRIPTIONS, Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from tests.kit.brokers import Mosquitto
from tests.kit.proxy import Fault, Proxy
from tests.net.reporter import DEVICE

ROOT = Path(__file__).resolve().parents[2]
INTERVAL_S = 0.01
KILLS = 6
CUTS = tuple(range(100, 100_000, 300))
"""An acknowledgement has 4 bytes."""


@pytest.fixture
def registry(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        with opened.write() as session:
            devices.add(session, Device(DEVICE, "generic-x86", targets=("cpu",)), 1.0)
        yield opened


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def ingest(broker, registry):
    """What arrives is written, then acknowledged, as the plane does."""
    ingest, lock = Ingest(registry, time.time), threading.Lock()

    def receive(message):
        with lock:
            ingest.apply([message])
            link.acknowledge([message])

    link = Link(f"mqtt://127.0.0.1:{broker.port}", "plane", SUBSCRIPTIONS, receive)
    link.start()
    yield ingest
    link.stop()


def start(folder, port):
    command = [sys.executable, "-m", "tests.net.reporter", str(folder), str(port), str(INTERVAL_S)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    )


def sequences(registry):
    """The numbers of the reports of each boot, as often as they are there."""
    found = {}
    with registry.read() as session:
        for report in SqlTelemetry(session).reports(DEVICE, 0.0, 4e9):
            found.setdefault(report.boot, []).append(report.sequence)
    return found


def test_reports_are_kept_exactly_once_under_kills_and_a_bad_network(tmp_path, broker, registry, ingest):
    fault = Fault(lost_acks=0.05, cut_at=CUTS)
    with Proxy(broker.port, fault) as proxy:
        for kill in range(KILLS):
            agent = start(tmp_path / "device", proxy.port)
            time.sleep(0.6 + 0.07 * kill)  # some of it is start-up
            agent.kill()
            agent.wait()
        last = start(tmp_path / "device", proxy.port)
        assert last.stdout.readline() == b"empty\n"
        last.kill()
        last.wait()
    assert proxy.connections > 2 * KILLS, "the connection was hardly ever cut"
    boots = sequences(registry)
    assert len(boots) >= KILLS / 2
    for numbers in boots.values():
        assert sorted(numbers) == list(range(len(numbers)))
    assert ingest.counts["duplicate"] > 0
