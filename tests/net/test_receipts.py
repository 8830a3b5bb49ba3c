"""What the agent has once kept of its telemetry survives the broker that had taken it, and is in the database once.

A real agent loop, `skerry serve` and mosquitto, each a process; the broker is killed (-9) while the plane is away.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.gather import device_views
from tests.kit.brokers import Mosquitto
from tests.kit.commands import serving, skerry
from tests.kit.home import make_home
from tests.kit.proxy import Fault, Proxy
from tests.kit.waiting import eventually
from tests.net.reporter import DEVICE

ROOT = Path(__file__).resolve().parents[2]
INTERVAL_S = 0.05
NETWORKS = {"good": Fault(), "bad": Fault(duplicate=0.3, drop=0.1)}


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def home(tmp_path, broker):
    made = make_home(tmp_path / "home")
    url = f"mqtt://127.0.0.1:{broker.port}"
    skerry(made, "device", "provision", DEVICE, "--board", "generic-x86", "--broker", url)
    return made


@pytest.fixture
def start(tmp_path):
    """Starts the agent on a port; it is gone at the end."""
    started = []

    def start(port):
        command = [sys.executable, "-m", "tests.net.reporter", str(tmp_path / "device"), str(port), str(INTERVAL_S)]
        environment = {"PYTHONPATH": ":".join(sys.path), "PATH": ""}
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for agent in started:
        agent.kill()
        agent.wait()


def sequences(registry):
    """The numbers of the reports of each boot, as often as they are there, and how many are missing."""
    found = {}
    with registry.read() as session:
        for report in SqlTelemetry(session).reports(DEVICE, 0.0, 4e9):
            found.setdefault(report.boot, []).append(report.sequence)
        missing = device_views(session, devices.all_devices(session))[0].reports_missing
    return found, missing


def whole(registry, at_least):
    """Every boot's reports are there once, from the first to the last, and they are as many as that."""
    found, missing = sequences(registry)
    once = all(sorted(numbers) == list(range(len(numbers))) for numbers in found.values())
    return once and missing == 0 and sum(map(len, found.values())) >= at_least


@pytest.mark.parametrize("network", NETWORKS)
def test_a_broker_that_dies_with_what_it_has_taken_costs_no_report(tmp_path, home, broker, start, network):
    """Over the bad network the agent is killed, too."""
    options = ("--broker", f"mqtt://127.0.0.1:{broker.port}", "--no-http")
    with (
        Proxy(broker.port, NETWORKS[network]) as proxy,
        open_registry(home.registry) as registry,
        serving(home, *options) as plane,
    ):
        agent = start(proxy.port)
        eventually(lambda: whole(registry, 10), "reports arrive")
        for _ in range(2):
            before = sum(map(len, sequences(registry)[0].values()))
            plane.kill()
            time.sleep(1.0)
            broker.kill()
            broker.start()
            time.sleep(0.7)  # the agent is back before the plane: nobody hears what it says to this broker
            if network == "bad":
                agent.kill()
                agent = start(proxy.port)
            plane.start()
            eventually(lambda expected=before + 40: whole(registry, expected), "everything that was made meanwhile")
        outbox = tmp_path / "device" / "state" / "outbox"
        eventually(lambda: len(list(outbox.glob("*.json"))) < 40, "what is stored goes from the device")
