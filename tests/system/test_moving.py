"""Devices of the old way get an identity over the connection that they have: real agents, a real plane and its brokers.

Nobody touches the board: its folder stays what it was when it was provisioned without an identity.
"""

import json

import pytest

from skerry_agent.state.identity import MOVED, IdentityStore
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import twins
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.waiting import eventually
from tests.system.fleet import BOARD, FIRST, RECIPE, Device, await_end, outcomes, running, start_rollout

pytestmark = pytest.mark.system
NAME = "old-01"


@pytest.fixture
def ports():
    return [free_port() for _ in range(3)]


@pytest.fixture
def plane(home, ports):
    """A serving host plane whose old listener is open while a device needs it."""
    named = [
        word for pair in zip(("--port", "--enroll-port", "--old-port"), map(str, ports), strict=True) for word in pair
    ]
    with serving(home, WITH_IDENTITIES, *named, "--no-http") as made:
        yield made


@pytest.fixture
def device(home, plane, ports, tmp_path):
    """A device that was provisioned without an identity, with the agent of today."""
    url, folder = f"mqtt://127.0.0.1:{ports[2]}", tmp_path / "device"
    skerry(home, "device", "provision", NAME, "--board", BOARD, "--broker", url, "--config-only", "--out", str(folder))
    made = Device(NAME, folder)
    made.configure("agent", "beat_s = 0.2")
    text = made.config.read_text().replace("telemetry_interval_s = 60.0", "telemetry_interval_s = 1.0")
    source = f'type = "replay"\npath = "{RECIPE / "evaluation.npz"}"\nrate_hz = 100.0\n'
    made.config.write_text(f"{text}\n[models.fashion]\n[[models.fashion.sources]]\n{source}")
    with running(made):
        made.start()
        yield made


def identity(device: Device) -> dict:
    return (device.status() or {}).get("identity") or {}


def known(home) -> dict:
    return json.loads(skerry(home, "device", "show", NAME, "--json").stdout)["device"]


def takes_orders_for_its_folder(home) -> bool:
    """Whether the device has accepted the newest order, which names the state folder that has enrolled."""
    with open_registry(home.registry) as registry, registry.read() as session:
        twin = twins.find(session, NAME)
    ordered = twin.desired is not None and twin.desired.incarnation is not None
    return ordered and twin.reported is not None and twin.reported.generation == twin.generation


def old_listener(home) -> bool:
    """Whether it is open for the device."""
    return f"/{NAME}/" in (home.broker / "old.acl").read_text()


def await_code(device: Device) -> str:
    eventually(lambda: identity(device).get("state") == "pending", f"{identity(device)} {device.tail()}", 20.0)
    return identity(device)["code"]


def stored(device: Device):
    store = IdentityStore(device.state)
    return store.renewed() or store.current()


def test_a_device_of_the_old_way_moves_without_anybody_touching_it(home, plane, device):
    """Killed (-9) while it waits and as soon as it has its identity; then it gets a release."""
    file = device.config.read_bytes()
    skerry(home, "device", "move", NAME)
    code = await_code(device)
    device.kill()
    device.start()
    assert await_code(device) == code
    waiting = json.loads(skerry(home, "device", "pending", "--json").stdout)
    assert [(row["code"], row["moves"]) for row in waiting] == [(code, NAME)]
    assert old_listener(home)
    skerry(home, "device", "approve", code)
    eventually(lambda: stored(device) is not None, f"it has an identity; {device.tail()}", 20.0)
    device.kill()
    device.start()
    eventually(lambda: not old_listener(home), f"the old way is closed; {device.tail()}", 40.0)
    eventually(lambda: stored(device).identity.claim != MOVED, f"renewed; {device.tail()}", 20.0)
    eventually(lambda: identity(device).get("state") == "enrolled", f"enrolled {identity(device)}", 20.0)
    assert outcomes(await_end(home, start_rollout(home, FIRST, NAME))) == {("succeeded", "")}, device.tail()
    assert known(home)["online"] is True
    assert device.config.read_bytes() == file


def test_a_device_that_cannot_reach_where_it_is_to_move_goes_on_the_old_way_and_says_why(home, plane, device, ports):
    nowhere = f"mqtts://127.0.0.1:{free_port()}"
    skerry(home, "device", "move", NAME, "--trust-network", "--broker", nowhere, "--enroll-broker", nowhere)
    eventually(
        lambda: any("is not reached" in each for each in (device.status() or {}).get("issues", [])), device.tail(), 40.0
    )
    assert old_listener(home)
    device.kill()
    device.start()
    eventually(lambda: (device.status() or {}).get("connected"), f"also after a restart; {device.tail()}", 20.0)
    eventually(lambda: takes_orders_for_its_folder(home), f"orders come the old way; {device.tail()}", 20.0)
    assert known(home)["online"] is True
