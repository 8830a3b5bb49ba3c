"""Agents and homes of before identities: the agent of then goes on under the plane of today, and nobody touches it.

The home, its registry and the device's folder are made by the host of then. Over the listener without TLS, which is
open while there is such a device.
"""

import json
import shutil
import sqlite3

import pytest

from skerry_host.home import open_home
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import twins
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.fielded import checked_out, environment, skerry_then
from tests.kit.once import once
from tests.kit.waiting import eventually
from tests.system.fleet import BOARD, FIRST, RECIPE, SECOND, Device, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system
NAME = "old-01"


@pytest.fixture(scope="session")
def old(tmp_path_factory):
    """The product of then."""
    return once(tmp_path_factory, "fielded", checked_out)


@pytest.fixture
def fielded(old, built, tmp_path):
    """(home, device, port), all made by the host of then; only the releases are of today."""
    root, port = tmp_path / "home", free_port()
    for part in ("keys", "store"):
        shutil.copytree(built.root / part, root / part)
    folder, url = tmp_path / "device", f"mqtt://127.0.0.1:{port}"
    skerry_then(old, root, "device", "provision", NAME, "--board", BOARD, "--broker", url, "--out", str(folder))
    device = Device(NAME, folder, environment=environment(old))
    text = device.config.read_text().replace("telemetry_interval_s = 10.0", "telemetry_interval_s = 1.0")
    source = f'type = "replay"\npath = "{RECIPE / "evaluation.npz"}"\nrate_hz = 100.0\n'
    device.config.write_text(f"{text}\n[models.fashion]\n[[models.fashion.sources]]\n{source}")
    yield open_home(root), device, port
    device.kill()


def current(home):
    return json.loads(skerry(home, "device", "show", NAME, "--json").stdout)["device"]["models"][0]["release"]


def test_an_agent_of_before_identities_keeps_working_over_the_old_listener(fielded):
    """Orders, reports and a rollback; and the registry of then opens."""
    home, device, port = fielded
    with sqlite3.connect(home.registry) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)
    raw.close()
    ports = ("--port", "0", "--enroll-port", "0", "--old-port", str(port))
    with serving(home, WITH_IDENTITIES, *ports, "--no-http"):
        device.start()
        for release in (FIRST, SECOND):
            assert outcomes(await_end(home, start_rollout(home, release, NAME))) == {("succeeded", "")}, device.tail()
        with open_registry(home.registry) as registry, registry.read() as session:
            twin = twins.find(session, NAME)
        assert twin.generation > 1_000_000_000_000, "by the host's clock"
        assert twin.desired is not None
        assert twin.desired.incarnation is None, "it never said which state folder it has"
        shown = json.loads(skerry(home, "device", "show", NAME, "--json").stdout)["device"]
        assert shown["alarms"] == []
        skerry(home, "rollback", "--device", NAME)
        eventually(lambda: current(home) == FIRST, f"it goes back; {device.tail()}", 40.0)
        eventually(lambda: reports(home) > 0, "its reports are stored")


def reports(home):
    with sqlite3.connect(home.registry) as raw:
        count = raw.execute("SELECT count(*) FROM telemetry_reports").fetchone()[0]
    raw.close()
    return count
