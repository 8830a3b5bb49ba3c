"""What systemd hears: ready once, then a sign of life twice in each watchdog interval, as long as the loop turns."""

import socket

import pytest

from skerry_agent.supervisor.notify import Notifier
from tests.kit.clock import FakeClock


@pytest.fixture
def ear(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.setblocking(False)
        yield door


def heard(door):
    words = []
    while True:
        try:
            words.append(door.recv(100).decode())
        except BlockingIOError:
            return words


def test_ready_and_alive(ear):
    clock = FakeClock()
    Notifier({"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "30000000"}).begin(clock)
    assert heard(ear) == ["READY=1", "WATCHDOG=1"]
    clock.advance(14.9)
    assert heard(ear) == []
    clock.advance(0.2)
    assert heard(ear) == ["WATCHDOG=1"]


def test_without_a_watchdog_it_says_only_that_it_is_ready(ear):
    clock = FakeClock()
    Notifier({"NOTIFY_SOCKET": ear.getsockname()}).begin(clock)
    clock.advance(100.0)
    assert heard(ear) == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_nobody_listens_and_nothing_happens(environment):
    clock = FakeClock()
    Notifier(environment).begin(clock)
    clock.advance(1.0)


def test_an_abstract_socket():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("\0skerry-notify-test")
        door.setblocking(False)
        Notifier({"NOTIFY_SOCKET": "@skerry-notify-test"}).begin(FakeClock())
        assert heard(door) == ["READY=1"]
