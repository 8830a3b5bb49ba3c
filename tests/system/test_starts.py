"""Starts that fail, and the life that systemd watches: the real agent without a network."""

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, NOWHERE, SECOND, Device, provision

pytestmark = pytest.mark.system


@pytest.fixture
def lone(home, installed, tmp_path):
    """A device that holds the first release and whose broker does not answer; no agent runs."""
    made = provision(home, "lone-03", NOWHERE, tmp_path / "device")
    shutil.copytree(installed, made.state, ignore=shutil.ignore_patterns("*.sock", "ports.json"))
    yield made
    made.kill()


def runner(device: Device) -> int | None:
    """The process that serves now."""
    status = device.status() or {}
    return status.get("pids", {}).get("fashion") if status["models"]["fashion"]["serving"] else None


def test_after_three_failed_starts_the_previous_release_serves_and_the_other_is_not_tried_again(lone, built, tmp_path):
    skerry(built, "release", "export", SECOND, "--target", "cpu", "-o", str(tmp_path / "stick"))
    assert lone.command("install", str(tmp_path / "stick")).returncode == 0
    assert lone.slots() == (SECOND, FIRST)
    lone.start()
    lone.await_serving(SECOND)
    killed: set[int] = set()
    for _ in range(3):
        eventually(lambda: runner(lone) not in {None, *killed}, "another runner serves", 20.0)
        killed.add(runner(lone))
        os.kill(max(killed), signal.SIGSEGV)
    found = lone.await_serving(FIRST)
    assert found["models"]["fashion"]["deployment"]["outcome"] == "rolled_back"
    assert "killed by SIGSEGV" in found["models"]["fashion"]["deployment"]["detail"]
    assert lone.stop() == 0
    lone.start()
    lone.await_serving(FIRST)
    assert lone.slots() == (FIRST, None)


class Systemd:
    """The socket on which systemd listens to a service."""

    def __init__(self, path: Path) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(str(path))

    def hears(self, seconds: float) -> list[str]:
        """What is said within so many seconds."""
        said, ends = [], time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._door.settimeout(left)
            try:
                said.append(self._door.recv(100).decode())
            except TimeoutError:
                break
        return said

    def close(self) -> None:
        self._door.close()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    heard = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    yield heard
    heard.close()


def test_the_watchdog_hears_an_agent_whose_loop_turns_and_not_one_that_stands_still(lone, systemd):
    lone.start()
    eventually(lambda: "READY=1" in systemd.hears(1.0), "it is ready", 20.0)
    assert "WATCHDOG=1" in systemd.hears(3.0)
    lone.process.send_signal(signal.SIGSTOP)
    systemd.hears(0.2)
    assert systemd.hears(2.0) == []
    lone.process.send_signal(signal.SIGCONT)
    assert "WATCHDOG=1" in systemd.hears(5.0)
