"""Two devices with one id, as after a copied card, over a real broker: an alarm, no flapping, and an end of it."""

import time
from contextlib import ExitStack

import pytest

from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, devices, events, rollouts
from skerry_host.plane.registry.tables import TwinRow
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from skerry_host.release.store import Store
from tests.kit.brokers import Mosquitto
from tests.kit.commands import skerry
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.plane import served
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system
NAME = "shelf-01"
ALARM_S = 60.0
"""Within which the table says that the alarm is there."""


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    add_release(made, "1.0.0", model_bytes("a", 3000))
    return made


def test_two_devices_with_one_id_are_an_alarm_and_get_no_rollout_until_one_is_gone(home, tmp_path):
    """Case I8 of the threat table, and case 17 of the identity's: they throw each other out, again and again."""
    with ExitStack() as stack:
        registry = stack.enter_context(open_registry(home.registry))
        with registry.write() as session:
            devices.add(session, Device(NAME, "generic-x86", targets=("cpu",)), 1.0)
        broker = stack.enter_context(Mosquitto(tmp_path / "broker"))
        stack.enter_context(served(home, registry, broker.port))
        url = f"mqtt://127.0.0.1:{broker.port}"
        first = stack.enter_context(FakeDevice(NAME, BrokerPort(url, NAME)))
        second = FakeDevice(NAME, BrokerPort(url, NAME))
        began = time.monotonic()
        with second:
            eventually(lambda: sounding(registry), "the alarm", ALARM_S)
            assert time.monotonic() - began < ALARM_S
            assert "two devices with one id" in skerry(home, "device", "list").stdout
            assert "two devices speak under this id" in skerry(home, "device", "show", NAME).stdout
            started = order(home, registry)
            eventually(lambda: state(registry, started) == "running", "the rollout begins")
        eventually(lambda: speaks(registry) == first.boot, "the other one is back")
        assert (sent(registry, started), first.current, second.current) == ([None], None, None)
        skerry(home, "device", "end-alarms", NAME)
        eventually(lambda: state(registry, started) == "succeeded", "it goes on with the one that is left")
        with registry.read() as session:
            assert [event.kind for event in events.latest(session)].count("cloned") == 1, "no flapping"


def sounding(registry):
    with registry.read() as session:
        return alarms.devices(session, alarms.CLONED) == {NAME}


def speaks(registry):
    """The boot that is online."""
    with registry.read() as session:
        row = session.get_one(TwinRow, NAME)
        return row.reported_boot if row.online else None


def order(home, registry):
    with registry.write() as session:
        request = RolloutRequest(
            Store(home.store).release("fashion@1.0.0"), devices.all_devices(session), "all", Policy()
        )
        return start_rollout(session, request, time.time())


def state(registry, rollout):
    with registry.read() as session:
        return rollouts.find(session, rollout).state


def sent(registry, rollout):
    with registry.read() as session:
        return [row.sent for row in rollouts.deployments(session, rollout)]
