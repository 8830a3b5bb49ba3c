"""A port that is taken is said at once, with who has it; only a broker of our own that is ending is waited for."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skerry_host.plane.broker.broker import LOOPBACK, Embedded, Mosquitto
from skerry_host.plane.broker.port_holder import holder
from skerry_host.plane.errors import BrokerError, PlaneError
from skerry_host.plane.web.server import require_free
from tests.kit.commands import skerry
from tests.kit.home import make_home


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_the_process_that_listens_is_found(taken):
    found = holder(taken)
    assert (found.pid, found.name) == (os.getpid(), Path(sys.orig_argv[0]).name)


def test_nobody_is_named_where_nobody_listens(tmp_path):
    assert holder(1) is None
    assert holder(1, tmp_path) is None


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
def test_a_port_of_another_program_is_refused_at_once_by_name(taken, tmp_path, kind):
    broker = Embedded(taken) if kind == "embedded" else Mosquitto(tmp_path, taken, "mosquitto")
    began = time.monotonic()
    with pytest.raises(BrokerError, match=rf"port {taken} is used by .* \(process {os.getpid()}\)"), broker:
        pytest.fail("it has started")
    assert time.monotonic() - began < 2


def test_so_is_that_of_the_page(taken):
    with pytest.raises(PlaneError, match=rf"port {taken} is used by .* \(process {os.getpid()}\)"):
        require_free(taken)


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_serve_says_so_before_it_starts_anything(taken, tmp_path, option):
    home = make_home(tmp_path / "home")
    began = time.monotonic()
    other = "--port" if option == "--http-port" else "--http-port"
    done = skerry(home, "serve", "--plain", option, str(taken), other, "0", check=False)
    assert (done.returncode, f"port {taken} is used by" in done.stderr) == (1, True)
    assert not (home.broker / "mosquitto.conf").exists()
    assert time.monotonic() - began < 4


def test_a_broker_of_before_that_is_ending_is_waited_for(tmp_path, caplog):
    """A process that has the broker's folder in its command line, as mosquitto has, gives the port back."""
    code = (
        "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); time.sleep(0.6)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as before:
        port = int(before.stdout.readline())
        ending = Mosquitto(tmp_path, port, "mosquitto")
        ending._patience_s = 20.0
        ending._await_free()
    assert "waiting up to 20 s" in caplog.text
