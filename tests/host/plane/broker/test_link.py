"""The plane's link over a real broker: it reads as far as there is room, and acknowledges what there is to."""

import threading

import pytest

from skerry_host.plane.broker import client
from skerry_host.plane.broker import link as links
from skerry_host.plane.broker.broker import Mosquitto, free_port
from skerry_host.plane.broker.link import Link, Outgoing
from tests.kit.programs import require_program
from tests.kit.waiting import eventually


@pytest.fixture
def url(tmp_path):
    """Of a broker as the plane starts it: it sends without waiting for acknowledgements."""
    with Mosquitto(tmp_path / "broker", free_port(), require_program("mosquitto", "mosquitto")) as broker:
        yield broker.url


@pytest.fixture
def sender(url):
    made = Link(url, "sender", (), lambda _message: None)
    made.start()
    yield made
    made.stop()


class Reader:
    """A link whose consumer has room or not."""

    def __init__(self, url):
        self.room, self.got = threading.Event(), []
        self.link = Link(url, "reader", ("t/#",), self.got.append, self.room.wait)
        self.room.set()
        self.link.start()
        self.link.publish([Outgoing("x", b"", retain=False)])  # the broker has taken the subscription before this


@pytest.fixture
def reader(url):
    made = Reader(url)
    yield made
    made.link.stop()


def send(sender, count, size=100):
    assert sender.publish([Outgoing(f"t/{number}", bytes(size), retain=False) for number in range(count)])


def test_nothing_is_read_without_room_and_nothing_is_lost(sender, reader):
    reader.room.clear()
    send(sender, 3000)
    assert len(reader.got) <= 1
    reader.room.set()
    eventually(lambda: len(reader.got) == 3000, "all have come")
    assert [message.topic for message in reader.got] == [f"t/{number}" for number in range(3000)]


@pytest.fixture
def narrow(monkeypatch):
    """So many messages are sent without an acknowledgement."""
    monkeypatch.setattr("skerry_host.plane.broker.mosquitto_conf.MAX_INFLIGHT", 100)
    return 100


def test_what_is_published_is_acknowledged_while_much_waits_to_be_read(narrow, sender, reader):
    """Not behind all that the broker holds for the reader."""
    reader.room.clear()
    send(sender, 1000)
    published = threading.Thread(target=reader.link.publish, args=([Outgoing("x", b"", retain=False)],))
    published.start()
    reader.room.set()
    published.join(30)
    assert not published.is_alive()
    assert len(reader.got) <= narrow


def test_a_reader_without_room_keeps_its_connection(sender, url, monkeypatch):
    """It lets a packet in now and then, and goes on sending: neither side takes the other for dead."""
    monkeypatch.setattr(links, "KEEPALIVE_S", 1)
    monkeypatch.setattr(client, "MAX_PAUSE_S", 0.4)
    reader = Reader(url)
    reader.room.clear()
    send(sender, 50)
    eventually(lambda: len(reader.got) >= 6, "a few come all the same")
    assert len(reader.got) < 50
    assert reader.link.epoch == 1
    reader.link.stop()


def test_messages_are_whole_however_large_they_are(sender, reader):
    sizes = [0, 1, 126, 127, 16_000, 65_530, 65_540, 300_000]
    for number, size in enumerate(sizes):
        assert sender.publish([Outgoing(f"t/{number}", bytes(size), retain=False)])
    eventually(lambda: len(reader.got) == len(sizes), "all have come")
    assert [len(message.payload) for message in reader.got] == sizes


def test_what_was_acknowledged_does_not_come_again(sender, reader, url):
    send(sender, 300)
    eventually(lambda: len(reader.got) == 300, "all have come")
    reader.link.acknowledge(reader.got[:200])
    reader.link.publish([Outgoing("x", b"", retain=False)])
    reader.link.stop()
    again = Reader(url)
    eventually(lambda: len(again.got) == 100, "the others come again")
    again.link.stop()
    assert {message.topic for message in again.got} == {f"t/{number}" for number in range(200, 300)}


def test_qos_0_is_not_acknowledged(sender, reader):
    """A broker ends a connection that acknowledges message 0."""
    sender._client.publish("t/none", b"x", qos=0).wait_for_publish(10)
    eventually(lambda: reader.got, "it has come")
    assert reader.got[0].qos == 0
    reader.link.acknowledge(reader.got)
    send(sender, 1)
    eventually(lambda: len(reader.got) == 2, "the connection lives")
    assert reader.link.epoch == 1
