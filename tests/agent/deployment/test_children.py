"""Children of the supervisor: it outlives whatever they write, and a kernel that starts none."""

import io
import sys
import threading
from pathlib import Path

import pytest

from skerry_agent.deployment.children import RealProcesses, _explain, _lines
from skerry_agent.ports.jobs import Refusal, VerifyMessage
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES
from skerry_agent.wire.manifest import Bundle

OPEN_FILES = Path("/proc/self/fd")


class Listener:
    """Remembers how a runner ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.how = ("", "")

    def received(self, message) -> None:
        raise AssertionError(message)

    def exited(self, reason, detail) -> None:
        self.how = (reason, detail)
        self.ended.set()


@pytest.fixture
def processes(monkeypatch, tmp_path) -> RealProcesses:
    """On a system that starts no process."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    return RealProcesses(lambda call: call(), tmp_path / "trust.json", tmp_path)


def test_a_runner_that_cannot_be_started_has_ended(processes):
    listener, before = Listener(), len(list(OPEN_FILES.iterdir()))
    runner = processes.start_runner(Job("m", "m@1.0.0", "/nowhere", Bundle("cpu", (), (), ()), "litert"), listener)
    assert listener.ended.wait(10)
    assert listener.how == ("not_started", "No such file or directory")
    runner.kill()
    assert len(list(OPEN_FILES.iterdir())) == before


def test_an_updater_that_cannot_be_started_is_a_failure_with_its_cause(processes):
    answers = []
    processes.run_updater(VerifyMessage(b"", "t", "release"), answers.append)
    assert answers == [Refusal("crashed", "updater_not_started", "No such file or directory")]


def test_endless_lines_come_in_pieces():
    pieces = list(_lines(io.BytesIO(b"x" * (3 * MAX_MESSAGE_BYTES) + b"\nlast\n")))
    assert max(map(len, pieces)) == MAX_MESSAGE_BYTES
    assert pieces[-1] == b"last\n"


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (-6, "killed by SIGABRT: terminate called"),
        (-11, "killed by SIGSEGV: terminate called"),
        (3, "exit status 3: terminate called"),
    ],
)
def test_the_host_is_told_the_signal_and_the_last_words(status, detail):
    assert _explain(status, ["before", "terminate called", " "]) == ("crashed", detail)
