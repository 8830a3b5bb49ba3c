"""The inbox is bounded: QoS 1 waits at the broker, QoS 0 is dropped and counted."""

import threading

from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.inbox import Inbox


def message(number, qos=1, size=1):
    return Incoming(f"t/{number}", bytes(size), number, 1, qos)


def test_what_came_first_is_taken_first():
    inbox = Inbox()
    for number in range(5):
        inbox.put(message(number))
    assert [each.mid for each in inbox.take(3)] == [0, 1, 2]
    assert [each.mid for each in inbox.take(3)] == [3, 4]


def test_it_is_full_by_messages_or_by_bytes():
    by_count, by_bytes = Inbox(4, 1000), Inbox(1000, 400)
    for number in range(4):
        assert by_count.has_room()
        assert by_bytes.has_room()
        by_count.put(message(number))
        by_bytes.put(message(number, size=100))
    assert not by_count.has_room()
    assert not by_bytes.has_room()
    by_count.take(1)
    by_bytes.take(1)
    assert by_count.has_room()
    assert by_bytes.has_room()


def test_qos_0_is_dropped_and_counted_before_it_is_full():
    inbox = Inbox(4)
    for number in range(4):
        inbox.put(message(number, qos=0))
    assert (len(inbox), inbox.dropped) == (3, 1)
    inbox.put(message(9))
    assert (len(inbox), inbox.dropped) == (4, 1)


def test_what_was_promised_is_never_dropped():
    inbox = Inbox(2)
    for number in range(5):
        inbox.put(message(number))
    assert len(inbox.take(9)) == 5


def test_whoever_waits_for_room_goes_on_when_there_is():
    inbox = Inbox(1)
    inbox.put(message(1))
    waiting = threading.Thread(target=inbox.has_room, args=(60.0,))
    waiting.start()
    inbox.take(1)
    waiting.join(10)
    assert not waiting.is_alive()


def test_closing_wakes_everybody():
    inbox = Inbox(1)
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(inbox.take(1)))
    waiting.start()
    inbox.close()
    waiting.join(10)
    assert taken == [[]]
    inbox.put(message(1))
    inbox.has_room(60.0)


def test_a_full_inbox_is_logged_once(caplog):
    inbox = Inbox(1)
    inbox.put(message(1))
    for _ in range(100):
        inbox.has_room()
    assert [record.getMessage() for record in caplog.records] == [
        "1 messages wait to be written: further ones wait at the broker"
    ]
