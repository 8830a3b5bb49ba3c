"""Back to the previous release: ordered on the device without a network, by the host, and decided by the device."""

import pytest

from skerry_host.cli.demo.client import Client
from tests.kit.commands import skerry
from tests.system.fleet import BAD, FIRST, SECOND, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system


@pytest.fixture
def upgraded(home, running):
    """The device, moved on to the second release."""
    assert outcomes(await_end(home, start_rollout(home, SECOND, running.id))) == {("succeeded", "")}
    running.await_serving(SECOND)
    return running


def url_of(device):
    return device.status()["http"]["fashion"]


def test_rolled_back_on_the_device_without_a_network(plane, upgraded):
    plane.kill()
    with Client(url_of(upgraded), "fashion") as client:
        done = upgraded.command("rollback")
        assert done.returncode == 0, done.stderr
        assert FIRST in done.stdout
        status = upgraded.await_serving(FIRST)
    assert client.lost == 0
    assert status["models"]["fashion"]["previous"] is None
    assert upgraded.bundles() == upgraded.held()


def test_a_rollback_with_nothing_to_go_back_to_is_one_line(running):
    done = running.command("rollback")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: fashion has no previous release on this device"


def test_rolled_back_by_the_host(home, upgraded):
    with Client(url_of(upgraded), "fashion") as client:
        skerry(home, "rollback", "--device", upgraded.id)
        upgraded.await_serving(FIRST)
    assert client.lost == 0


def test_a_release_that_is_slow_on_the_device_is_rolled_back_by_itself(home, running):
    with Client(url_of(running), "fashion") as client:
        view = await_end(home, start_rollout(home, BAD, running.id))
        assert outcomes(view) == {("rolled_back", "latency_over_budget")}
        running.await_serving(FIRST)
    assert client.lost == 0
    assert running.bundles() == running.held()
