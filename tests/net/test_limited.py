"""Brokers that retain little or nothing: what Skerry needs of a broker, and what it says where it does not get it.

Small retained messages are required: births, last wills, desired and reported states, commands. Chunks are not: see
`cases`. mosquitto with `retain_available false` stands for brokers that retain nothing at all.
"""

import threading

import pytest

from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.wire import topics
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import events
from tests.kit.brokers import Mosquitto
from tests.kit.commands import serving, skerry
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.waiting import eventually


class Forgetful(Mosquitto):
    """It ends every connection that publishes a retained message, or wills one."""

    def __init__(self, folder):
        super().__init__(folder)
        self._conf.write_text(f"{self._conf.read_text()}retain_available false\n")


@pytest.fixture
def broker(tmp_path):
    with Forgetful(tmp_path / "broker") as made:
        yield made


def test_a_message_that_a_broker_refuses_does_not_end_the_connections_that_follow(broker):
    """paho would send it again on every connection."""
    link = Link(f"mqtt://127.0.0.1:{broker.port}", "plane", (), lambda _message: None)
    link.start()
    assert not link.publish([Outgoing(topics.desired("dev-1"), b"desired")])
    eventually(lambda: link.connected and link.epoch == 2, "it is connected again")
    assert link.publish([Outgoing(topics.piece("dev-1", "a" * 64), b"piece", retain=False)])
    assert link.epoch == 2
    link.stop()


def test_the_plane_says_what_is_wrong_with_a_broker_that_retains_nothing(broker, tmp_path):
    home = make_home(tmp_path / "home")
    add_release(home, "1.0.0", model_bytes("m", 100_000))
    url = f"mqtt://127.0.0.1:{broker.port}"
    skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", url)
    skerry(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1")

    def said():
        with open_registry(home.registry) as registry, registry.read() as session:
            return [event.text for event in events.latest(session, 20) if event.kind == "error"]

    with serving(home, "--broker", url, "--no-http", "--retained", "0") as plane:
        eventually(said, "it says so", 40.0)
        assert plane.stop() == 0
    assert said() == [
        "the connection was lost 3 times while publishing it: the broker must retain small messages, and seems not to"
    ]


def test_an_agent_keeps_trying_and_is_offline_because_its_will_is_refused(broker):
    up = threading.Event()
    link = MqttLink(
        BrokerUrl("mqtt", "127.0.0.1", broker.port),
        "dev-1",
        lambda _connection: (topics.state("dev-1"), b"dead"),
        backoff=Backoff(0.05, 0.1),
    )
    link.start(lambda call: call(), up.set, lambda *_: None, lambda _token: None)
    eventually(lambda: link.connection > 5, "it tries again")
    assert not up.is_set()
    assert not link.connected
    link.stop()
