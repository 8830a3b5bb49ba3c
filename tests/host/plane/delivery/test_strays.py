"""What a device has had the broker retain where nothing is retained: what is taken for that, and when it is cleared."""

import pytest

from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.delivery.strays import SETTLED_S, Strays
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, identities
from tests.kit.home import make_home


class Broker:
    """A link that notes what it is told."""

    def __init__(self):
        self.connected, self.cleared, self.recalled = True, [], []

    def publish(self, messages):
        self.cleared += [message.topic for message in messages if not message.payload and message.retain]
        return self.connected

    def recall(self, filters):
        self.recalled += filters


@pytest.fixture
def rig(tmp_path):
    with open_registry(make_home(tmp_path / "home").registry) as registry:
        with registry.write() as session:
            devices.add(session, Device("edge-17", "generic-x86", targets=("cpu",)), 1.0)
        link, times = Broker(), [0.0]
        yield Strays(registry, link, lambda: times[0]), link, registry, times


TOPICS = ["t/zz/edge-17", "t//edge-17", "r/edge-17/x", "d/edge-17/ask", "d/edge-17/renew", "d/edge-17/command/result"]


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_retained_where_nothing_is_retained_says_nothing_and_is_cleared_once(rig, topic):
    strays, link, _, _ = rig
    assert strays.heard(Incoming(f"skerry/v1/{topic}", b"x", retained=True))
    assert strays.heard(Incoming(f"skerry/v1/{topic}", b"")), "our own clearing of it comes back"
    assert not strays.heard(Incoming(f"skerry/v1/{topic}", b"x"))
    strays.clear()
    strays.clear()
    assert link.cleared == [f"skerry/v1/{topic}"]


@pytest.mark.parametrize("topic", ["d/edge-17/state", "d/edge-17/reported", "d/edge-17/desired", "d/edge-17/command"])
def test_what_is_to_be_retained_stays(rig, topic):
    strays, link, _, _ = rig
    assert not strays.heard(Incoming(f"skerry/v1/{topic}", b"x", retained=True))
    strays.clear()
    assert link.cleared == []


def test_of_a_revoked_device_it_is_looked_for_once_it_is_mute(rig):
    """It could put there as much as it liked: 100 topics of 2 MB each stayed in memory and on disk for good."""
    strays, link, registry, times = rig
    strays.clear()
    with registry.write() as session:
        identities.revoke(session, "edge-17", "stolen", 1.0)
    strays.clear()
    assert link.recalled == []
    for times[0] in (SETTLED_S, SETTLED_S + 1):
        strays.clear()
    own = [f"skerry/v1/d/edge-17/{kind}" for kind in ("ask", "renew", "command/result")]
    assert link.recalled == ["skerry/v1/t/+/edge-17", "skerry/v1/r/edge-17/+", *own]


def test_without_a_connection_it_is_cleared_later(rig):
    strays, link, _, _ = rig
    strays.heard(Incoming("skerry/v1/t/0/edge-17", b"x", retained=True))
    link.connected = False
    strays.clear()
    assert link.cleared == []
    link.connected = True
    strays.clear()
    assert link.cleared == ["skerry/v1/t/0/edge-17"]
