"""Children of the supervisor: it outlives whatever they write, and a kernel that starts none."""

import gc
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skerry_agent.deployment.children import RealProcesses, _lines
from skerry_agent.deployment.exits import explain, is_stopped, oom_kills
from skerry_agent.ports.jobs import Refusal, VerifyMessage
from skerry_agent.ports.runner_protocol import Accept, FromRunner, Job, Refused, Stop
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES, decode, encode
from skerry_agent.wire.manifest import Bundle
from tests.kit.tiny_models import make_job, tiny_model
from tests.kit.waiting import eventually

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
    gc.collect()  # what other tests have left open is not counted
    listener, before = Listener(), len(list(OPEN_FILES.iterdir()))
    runner = processes.start_runner(Job("m", "m@1.0.0", "/nowhere", Bundle("cpu", (), (), ()), "litert"), listener)
    assert listener.ended.wait(10)
    assert listener.how == ("not_started", "No such file or directory")
    runner.kill()
    assert len(list(OPEN_FILES.iterdir())) == before


def test_a_runner_serves_on_the_sockets_that_it_inherits(tmp_path):
    (tmp_path / "model.tflite").write_bytes(tiny_model("add"))
    store = os.memfd_create("regions")
    with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind(str(tmp_path / "m.sock"))
        unix.listen()
        job = make_job(tmp_path, listen_fd=tcp.fileno(), unix_fd=unix.fileno(), regions_fd=store)
        listener = Listener()
        listener.received = lambda _message: None
        runner = RealProcesses(lambda call: call(), tmp_path / "trust.json", tmp_path).start_runner(job, listener)
        runner.send(Accept())
        for client, address in ((socket.socket(socket.AF_UNIX), unix), (socket.socket(), tcp)):
            with client:
                client.settimeout(30)
                client.connect(address.getsockname())
                client.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        runner.send(Stop())
        assert listener.ended.wait(10)
    os.close(store)


def test_an_updater_that_cannot_be_started_is_a_failure_with_its_cause(processes):
    answers = []
    processes.run_updater(VerifyMessage(b"", "t", "release"), answers.append)
    assert answers == [Refusal("crashed", "updater_not_started", "No such file or directory")]


NO_THREADS = """
import resource, sys, threading
from pathlib import Path
threading.stack_size(2 << 30)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
"""
"""A process in which no thread can be started, as where a container has reached its limit of processes."""

STARTS = """
from skerry_agent.deployment.children import RealProcesses
from skerry_agent.ports.jobs import VerifyMessage
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.wire.manifest import Bundle
class Listener:
    def exited(self, reason, detail):
        print(reason, detail)
processes = RealProcesses(lambda call: call(), Path("/nowhere"), Path("/nowhere"))
processes.start_runner(Job("m", "m@1.0.0", "/nowhere", Bundle("cpu", (), (), ()), "litert"), Listener())
processes.run_updater(VerifyMessage(b"", "t", "release"), lambda answer: print(answer.reason, answer.detail))
"""


def test_where_no_thread_can_be_started_nothing_has_started_and_the_agent_goes_on():
    """Before, a RuntimeError ended the agent, and with it every model."""
    command = [sys.executable, "-c", NO_THREADS + STARTS]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    said = "no thread can be started"
    assert done.stdout.splitlines() == [f"not_started {said}", f"updater_not_started {said}"], done.stderr


def test_a_runner_that_can_start_no_thread_is_not_called_crashed(tmp_path):
    (tmp_path / "model.tflite").write_bytes(tiny_model("add"))
    ours, theirs = socket.socketpair()
    main = "from skerry_agent.runner.__main__ import main\nmain()"
    with ours, theirs, ours.makefile("rb") as lines:
        command = [sys.executable, "-c", NO_THREADS + main, "--control-fd", str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE) as runner:
            theirs.close()
            ours.sendall(encode(make_job(tmp_path)) + b"\n")
            assert decode(lines.readline(), FromRunner) == Refused("not_started", "the kernel starts no more threads")
            assert runner.wait(30) == 3


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
    assert explain(status, ["before", "terminate called", " "]) == ("crashed", detail)


@pytest.mark.parametrize(
    ("status", "oom_kills_meanwhile", "by_us", "reason"),
    [
        (-9, 0, False, "killed"),
        (-15, 0, False, "killed"),
        (-1, 1, False, "killed"),
        (-9, 1, False, "oom_killed"),
        (-9, 0, True, "crashed"),  # it talked nonsense
        (-9, 1, True, "crashed"),
        (-11, 1, False, "crashed"),
        (-35, 0, False, "crashed"),  # a real-time signal, which has no name
        (1, 1, False, "crashed"),
    ],
)
def test_an_end_from_outside_is_told_from_a_crash(status, oom_kills_meanwhile, by_us, reason):
    assert explain(status, [], oom_kills_meanwhile, by_us=by_us)[0] == reason


def test_what_a_runner_said_last_is_not_why_somebody_killed_it():
    """Before: "killed by SIGKILL: INFO: Created TensorFlow Lite XNNPACK delegate for CPU."."""
    assert explain(-9, ["INFO: Created a delegate"]) == ("killed", "killed by SIGKILL")


def test_the_kernels_kills_for_want_of_memory_are_read(tmp_path):
    assert oom_kills(tmp_path) is None
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 3\noom_kill_other 9\n")
    assert oom_kills(tmp_path) == 3


def test_a_process_that_somebody_stopped_is_seen():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not is_stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        eventually(lambda: is_stopped(child.pid), "it is stopped", 5.0)
    finally:
        child.kill()
        child.wait()
    assert not is_stopped(child.pid)
