"""The sockets of an inference API: what the Unix socket's file is before, while and after it serves."""

import os
import socket
import stat

import pytest

from skerry_agent.config import ModelSection
from skerry_agent.supervisor import listeners
from tests.agent.supervisor.test_loop import Site


def test_a_unix_socket_beside_the_tcp_one(tmp_path):
    path = tmp_path / "sockets" / "m.sock"
    agent = Site(tmp_path / "device", {"m": ModelSection(unix=str(path), unix_mode="0600")}).agent
    status = agent.status()
    assert status.http["m"].startswith("http://127.0.0.1:")
    assert status.unix == {"m": str(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    agent.stop()
    assert not path.exists()


def test_a_socket_that_a_crash_left_behind_is_replaced(tmp_path):
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listeners.open_unix(path, 0o660), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("what", ["another listens", "a file", "a folder", "no folder can be made"])
def test_where_it_cannot_be_the_model_serves_by_tcp_and_says_so(tmp_path, what):
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as other:
        if what == "another listens":
            other.bind(str(path))
            other.listen()
        elif what == "a file":
            path.write_text("precious")
        elif what == "a folder":
            path.mkdir()
        else:
            (tmp_path / "file").touch()
            path = tmp_path / "file" / "m.sock"
        status = Site(tmp_path / "device", {"m": ModelSection(unix=str(path))}).agent.status()
        assert "m" in status.http
        assert status.unix == {}
        assert any(issue.startswith(f"models.m.unix: {path} cannot be used: ") for issue in status.issues)
        if what == "a file":
            assert path.read_text() == "precious"
        if what == "another listens":
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))


def test_nobody_can_connect_before_the_socket_has_its_mode(tmp_path, monkeypatch):
    """It is made with no permissions at all, whatever the umask of the process, and the umask is set back."""
    before = os.umask(0)
    try:
        seen = []
        monkeypatch.setattr(type(tmp_path), "chmod", lambda path, _mode: seen.append(stat.S_IMODE(path.stat().st_mode)))
        listeners.open_unix(tmp_path / "m.sock", 0o660).close()
        assert seen == [0]
        assert os.umask(0) == 0
    finally:
        os.umask(before)
