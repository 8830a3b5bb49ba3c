"""The host plane killed, the broker restarted, while a rollout is under way: it ends as it would have without that."""

import shutil
import time

import pytest

from skerry_host.cli.demo.client import Client
from skerry_host.plane.broker.broker import free_port
from tests.kit.commands import serving
from tests.kit.waiting import eventually
from tests.system.fleet import (
    FIRST,
    SECOND,
    Broker,
    await_end,
    outcomes,
    provision,
    running,
    start_rollout,
)

pytestmark = pytest.mark.system
DONE = {("succeeded", "")}


def await_state(device, *states):
    """Wait until the machine is in one of some states or past them: the last of them is long enough to be seen."""
    deadline = time.monotonic() + 20.0
    while device.state_name() not in states:
        assert time.monotonic() < deadline, f"never {states}: {device.state_name()}"
        time.sleep(0.001)


@pytest.mark.parametrize("state", ["fetching", "probation"])
def test_the_host_plane_is_killed_during_a_rollout(home, device, plane, state):
    device.start()
    url = device.await_serving(FIRST)["http"]["fashion"]
    with Client(url, "fashion") as client:
        rollout = start_rollout(home, SECOND, device.id)
        await_state(device, state, "probation")
        plane.kill()
        port = plane.broker.rpartition(":")[2]
        with serving(home, "--port", port, "--no-http"):
            assert outcomes(await_end(home, rollout)) == DONE
            device.await_serving(SECOND)
    assert client.lost == 0
    assert client.answered > 0


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "forgetful"])
@pytest.mark.parametrize("state", ["ordered", "fetching", "probation"])
def test_the_broker_is_restarted_during_a_rollout(home, installed, tmp_path, state, persistent):
    broker = Broker(tmp_path / "broker", free_port(), persistent=persistent)
    device = provision(home, "shelf-01", broker.url, tmp_path / "device")
    shutil.copytree(installed, device.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
    with running(broker, device):
        broker.start()
        with serving(home, "--broker", broker.url, "--no-http"):
            device.start()
            url = device.await_serving(FIRST)["http"]["fashion"]
            with Client(url, "fashion") as client:
                rollout = start_rollout(home, SECOND, device.id)
                if state != "ordered":
                    await_state(device, state, "probation")
                broker.restart()
                assert outcomes(await_end(home, rollout)) == DONE
                device.await_serving(SECOND)
            assert client.lost == 0
            eventually(lambda: device.status()["waiting_reports"] <= 1, "the outbox is sent")
