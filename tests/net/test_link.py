"""The agent's link on what is no packet of this protocol: it says so in one line, and goes on."""

import socket
import struct
import threading
import time

import pytest

from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.supervisor.link_security import NOTHING
from skerry_agent.supervisor.paho_client import WatchedClient
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.broker.link import Link, Outgoing
from tests.kit.brokers import Mosquitto
from tests.kit.proxy import Fault, Proxy
from tests.kit.waiting import eventually
from tests.net.bench import Device, Host, blob, messages_of, problems, reference
from tests.net.cases import MALFORMED

DATA = blob(300_000)
REF = reference(DATA)


def test_a_topic_that_is_no_text_is_one_line_and_costs_no_connection(tmp_path, capfd, caplog):
    with Mosquitto(tmp_path / "broker") as broker:
        host = Host(broker.port)
        host.retain(messages_of(DATA, REF))
        with Proxy(broker.port, Fault(garbage=MALFORMED["topic that is not UTF-8"])) as proxy:
            device = Device(proxy.port, tmp_path / "device")
            result = device.fetch(REF, 20.0)
            assert problems(device, result, REF, DATA) == []
            assert proxy.connections == 1
        host.close()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    told = [record.getMessage() for record in caplog.records if "UTF-8" in record.getMessage()]
    assert told == ["a message was ignored, because its topic is not valid UTF-8"]


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "quiet") as made:
        yield made


def test_publishing_at_the_moment_in_which_the_connection_ends_is_being_offline(broker):
    """paho's word for it is an exception where one asks whether it was published."""
    up = threading.Event()
    link = MqttLink(BrokerUrl("mqtt", "127.0.0.1", broker.port), "dev-1", lambda _n: ("will", b"x"))
    link.start(lambda call: call(), up.set, lambda *_: None, lambda _token: None)
    assert up.wait(10)
    link._client._sock_close()
    assert link.connected  # nobody has said so yet
    assert link.publish("topic", b"x") is None
    link.stop()


def test_the_planes_link_likewise(broker):
    link = Link(f"mqtt://127.0.0.1:{broker.port}", "plane", (), lambda _message: None)
    link.start()
    link._client._sock_close()
    assert link.connected
    assert link.publish([Outgoing("topic", b"x")]) is False
    link.stop()


class Brittle(WatchedClient):
    """As paho 2.1 is: packets that it cannot parse are exceptions in its network thread."""

    malformed = 3

    def loop_read(self, max_packets=1):
        if self.malformed:
            self.malformed -= 1
            raise struct.error("unpack requires a buffer of 2 bytes")
        return super().loop_read(max_packets)


def test_a_packet_that_paho_cannot_parse_ends_the_connection_and_not_the_thread(broker, capfd):
    told = []
    address = BrokerUrl("mqtt", "127.0.0.1", broker.port)
    up, client = threading.Event(), Brittle(address, "dev-1", NOTHING, lambda: told.append(client.problem) or 0.01)
    client.on_connect = lambda *_: up.set()
    client.aim(60)
    client.loop_start()
    assert up.wait(10)
    client.closing.set()
    client.disconnect()
    client.loop_stop()
    assert [(why.kind, "malformed packet: error: unpack" in why.detail) for why in told] == [
        ("malformed_packet", True)
    ] * 3
    assert capfd.readouterr().err == ""


CONNECT, SUBSCRIBE = 1, 8


class Forgetful:
    """A broker that answers all but what is published; short packets only."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, connection.makefile("rb") as packets:
            while head := packets.read(2):
                body = packets.read(head[1])
                if head[0] >> 4 == CONNECT:
                    connection.sendall(b"\x20\x02\x00\x00")
                elif head[0] >> 4 == SUBSCRIBE:
                    connection.sendall(b"\x90\x03" + body[:2] + b"\x01")


def test_a_message_that_stays_unacknowledged_while_others_are_answered_costs_the_connection():
    """It was lost on the way, and MQTT sends again in a new connection only."""
    up = threading.Event()
    address = BrokerUrl("mqtt", "127.0.0.1", Forgetful().port)
    link = MqttLink(address, "dev-1", lambda _n: ("will", b"x"), backoff=Backoff(0.01, 0.02), answer_s=0.1)
    link.start(lambda call: call(), up.set, lambda *_: None, lambda _token: None)
    assert up.wait(10)
    assert link.publish("topic", b"x") is not None

    def begins_anew():
        link.subscribe(["another"])
        time.sleep(0.02)
        link.check()
        return link.connection > 1

    eventually(begins_anew, "another connection", 10.0)
    link.stop()
