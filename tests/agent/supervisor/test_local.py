"""The local socket: it outlives clients that disconnect, and a silent supervisor is not reported as absent."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from skerry_agent.cli.doctor import _agent, _models, _sources, doctor
from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection, ModelSection
from skerry_agent.ports.runner_protocol import DirectorySource, ReplaySource
from skerry_agent.state.disk import locked
from skerry_agent.supervisor import local
from skerry_agent.supervisor.local import Done, LocalError, SilentError, StatusRequest, ask, listen
from skerry_agent.supervisor.report import LocalStatus

DONE = Done(ok=True, detail="here")


@pytest.fixture
def served(tmp_path):
    """A served whose supervisor answers as soon as `free` is set."""
    free = threading.Event()

    def post(call):
        free.wait(5.0)
        call()

    server = listen(tmp_path, post, lambda _request: DONE)
    yield tmp_path, free
    server.close()


def client(folder):
    here = os.open(folder, os.O_RDONLY)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"/proc/self/fd/{here}/{local.SOCKET_FILE}")
    os.close(here)
    return connection


@pytest.mark.parametrize("words", [b'{"type":"status"}\n', b"", b"{"])
def test_clients_that_do_not_wait_for_the_answer_do_no_harm(served, words):
    folder, free = served
    for _ in range(3):
        with client(folder) as connection:
            connection.sendall(words)
    free.set()
    assert ask(folder, StatusRequest()) == DONE


@pytest.mark.parametrize("words", [b"", b"{"], ids=["silent", "cut"])
def test_clients_that_say_nothing_more_keep_nobody_waiting(served, words):
    """One of them kept every other command waiting for ten seconds, and one that drips did so for ever."""
    folder, free = served
    free.set()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(client(folder)) for _ in range(3 * local.MAX_CLIENTS)]
        for connection in idle:
            with contextlib.suppress(OSError):  # it may have given way
                connection.sendall(words)
        began = time.monotonic()
        assert ask(folder, StatusRequest()) == DONE
        assert time.monotonic() - began < local.ANSWER_TIMEOUT_S / 2


def test_no_supervisor_runs(tmp_path):
    with pytest.raises(LocalError):
        ask(tmp_path, StatusRequest())
    with pytest.raises(LocalError):
        ask(tmp_path / "nowhere", StatusRequest())


def test_a_supervisor_that_does_not_answer(served, monkeypatch):
    monkeypatch.setattr(local, "ANSWER_TIMEOUT_S", 0.1)
    folder, free = served
    config = AgentConfig(DeviceSection("d"), BrokerSection("mqtt://x"), BoardSection("t"), folder=str(folder.parent))
    (folder.parent / "state").symlink_to(folder)
    with pytest.raises(SilentError, match="does not answer"):
        ask(folder, StatusRequest())
    check, status = _agent(config)
    assert (check.ok, status) == (False, None)
    assert "does not answer" in check.detail
    free.set()


def test_the_doctor_does_not_push_a_silent_agent_out_of_the_broker(tmp_path):
    """It runs, on a disk where its local socket cannot be made for instance: a second client of its id ends it."""
    said = []
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(10.0)

        def listen_once():
            with broker.accept()[0] as client:
                client.settimeout(10.0)
                said.append(client.recv(100))

        thread = threading.Thread(target=listen_once)
        thread.start()
        url = f"mqtt://127.0.0.1:{broker.getsockname()[1]}"
        config = AgentConfig(DeviceSection("dev-1"), BrokerSection(url), BoardSection("t"), folder=str(tmp_path))
        config.state_dir.mkdir()
        with locked(config.state_dir, "it runs already"):
            doctor(config)
        thread.join()
    assert said == [b""]


@pytest.mark.parametrize(("running", "name"), [(True, "issue"), (False, "journal")])
def test_an_issue_of_a_running_agent_is_not_said_to_be_of_its_journal(running, name):
    status = LocalStatus("d", running, 0, {}, {}, {}, issues=("command refused: no order",), running=running)
    assert [(check.check, check.ok) for check in _models(status)] == [(name, False)]


def test_a_source_that_is_not_there_is_said(tmp_path):
    here = tmp_path / "here.npz"
    here.touch()
    sources = (ReplaySource(str(here)), ReplaySource("/nowhere.npz"), DirectorySource("/nowhere"))
    config = AgentConfig(
        DeviceSection("d"), BrokerSection("mqtt://x"), BoardSection("t"), models={"m": ModelSection(sources=sources)}
    )
    assert [(check.ok, check.detail) for check in _sources(config)] == [
        (True, str(here)),
        (False, "/nowhere.npz does not exist"),
    ]


def test_a_supervisor_without_a_socket_is_found_by_its_lock(tmp_path):
    """A disk that takes nothing has no room for the socket."""
    with locked(tmp_path, "busy"), pytest.raises(SilentError):
        ask(tmp_path, StatusRequest())
    with pytest.raises(LocalError):
        ask(tmp_path, StatusRequest())


def test_nobody_reads_what_a_command_says(tmp_path):
    (tmp_path / "agent.toml").write_text(
        '[device]\nid = "dev-1"\n[broker]\nurl = "mqtt://127.0.0.1:9"\n[board]\nname = "test"\n'
    )
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "skerry_agent", "status", "--config", str(tmp_path / "agent.toml")]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert done.returncode == 1
    assert "Error" not in done.stderr
