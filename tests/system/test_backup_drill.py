"""The host is lost, and restored elsewhere from a backup that was made while it served: the fleet goes on by itself."""

import json
import shutil
import stat
from contextlib import ExitStack

import pytest
from sqlalchemy import func, select

from skerry_host.fleet.device import Device as Record
from skerry_host.home import Home
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.tables import BootRow, ReportRow
from tests.kit.commands import serving, skerry
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.waiting import eventually
from tests.system.fleet import BOARD, FIRST, SECOND, await_end, outcomes, provision_installed, start_rollout

pytestmark = pytest.mark.system
DONE = {("succeeded", "")}
LIGHT = 50


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("five random words of a test")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return ["--passphrase-file", str(file)]


def enrolled(home: Home) -> list[str]:
    """Fifty records, as provisioning makes them."""
    names = [f"light-{number:02}" for number in range(LIGHT)]
    with open_registry(home.registry) as registry, registry.write() as session:
        for name in names:
            devices.add(session, Record(name, BOARD, targets=("cpu",)), 1.0)
    return names


def of_fleet(home: Home) -> dict[str, dict]:
    return {each["id"]: each for each in json.loads(skerry(home, "device", "list", "--json").stdout)}


def connected(home: Home) -> int:
    return sum(each["online"] is True for each in of_fleet(home).values())


def test_a_fleet_goes_on_when_its_host_is_lost_and_restored_elsewhere(home, installed, tmp_path, secret):
    """The drill of docs/operating.md: no device is enrolled again, or touched at all."""
    port, again = str(free_port()), Home(tmp_path / "elsewhere" / "home")
    names = enrolled(home)
    with ExitStack() as stack:
        with serving(home, "--port", port, "--no-http") as plane:
            real = provision_installed(home, plane.broker, installed, tmp_path / "device")
            stack.callback(real.kill)
            real.start()
            light = [stack.enter_context(FakeDevice(name, BrokerPort(plane.broker))) for name in names]
            everybody = [*names, real.id]
            first = await_end(home, start_rollout(home, FIRST, *everybody))
            assert {outcome for outcome, _ in outcomes(first)} == {"succeeded"}
            before = [each.kept.generation for each in light]
            light[0].telemetry()
            eventually(lambda: reports_of(home, names[0]) == 1, "a report of before the backup is stored")
            skerry(home, "backup", str(tmp_path / "b"), *secret)
            light[0].telemetry()
            eventually(lambda: reports_of(home, names[0]) == 2, "a report of after it is stored")
            plane.kill()
        shutil.rmtree(home.root)
        skerry(again, "restore", str(tmp_path / "b"), "--home", str(again.root), *secret)
        with serving(again, "--port", port, "--no-http"):
            eventually(lambda: connected(again) == LIGHT + 1, f"all are back: {of_fleet(again)}", 30.0)
            assert outcomes(await_end(again, start_rollout(again, SECOND, *everybody))) == DONE
            real.await_serving(SECOND)
            assert {each.current for each in light} == {SECOND}
            assert all(each.kept.generation > old for each, old in zip(light, before, strict=True))
            light[0].telemetry()
            eventually(lambda: reports_of(again, names[0]) == 2, "reports are stored again")
            assert of_fleet(again)[names[0]]["reports_missing"] == 1, "what came in after the backup is counted"


def reports_of(home: Home, device: str) -> int:
    """How many of its reports are stored."""
    query = select(func.count()).select_from(ReportRow).join(BootRow, BootRow.id == ReportRow.boot)
    with open_registry(home.registry) as registry, registry.read() as session:
        return session.scalar(query.where(BootRow.device == device)) or 0
