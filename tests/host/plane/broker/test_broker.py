"""Starting a broker: ports that are taken, addresses that are none, brokers that die."""

import os
import resource
import signal
import socket
import subprocess

import pytest

from skerry_host.plane.broker import broker as brokers
from skerry_host.plane.broker.broker import Embedded, External, Mosquitto, choose, free_port
from skerry_host.plane.broker.connection import address
from skerry_host.plane.broker.link import Link
from skerry_host.plane.errors import BrokerError, LinkError
from tests.kit.programs import require_program
from tests.kit.waiting import eventually


@pytest.fixture
def mosquitto(tmp_path):
    return Mosquitto(tmp_path, 0, require_program("mosquitto", "mosquitto"))


def test_mosquitto_accepts_and_ends(mosquitto):
    with mosquitto as broker:
        link = Link(broker.url, "test", (), lambda _: None)
        link.start()
        assert link.connected
        link.stop()
        assert not broker.ensure()
        os.kill(broker.pid, signal.SIGKILL)
        eventually(lambda: broker.pid is None, "it is dead")
        assert broker.ensure()
        assert broker.pid
    assert broker.pid is None


def test_a_log_that_strangers_fill_is_begun_anew_and_goes_on(mosquitto):
    """Each connection in vain may write a line, and nothing else rotates the file."""
    with mosquitto as broker:
        broker.log_file.write_bytes(b"line\n" * (brokers.MOST_LOG_BYTES // 4))
        assert not broker.ensure()
        os.kill(broker.pid, signal.SIGHUP)  # it says that it reads its configuration again
        eventually(lambda: 0 < broker.log_file.stat().st_size < 10_000, "it goes on in the same file")
        assert b"\0" not in broker.log_file.read_bytes()
        assert broker.log_file.with_name("mosquitto.log.1").stat().st_size > brokers.MOST_LOG_BYTES


def test_embedded_accepts_and_ends():
    with Embedded(0) as broker, socket.create_connection(("127.0.0.1", broker.port)):
        assert broker.pid
    assert broker.pid is None


def test_a_taken_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is used"), Embedded(port, patience_s=0.2):
            pass


def test_what_does_not_start_says_where_to_look(tmp_path):
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(BrokerError, match=r"mosquitto\.log"), Mosquitto(tmp_path / "b", 0, str(broken)):
        pass


@pytest.mark.parametrize(
    "url", ["", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://x:0", "mqtt://[x", "localhost:1883"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(BrokerError) as caught:
        address(url)
    assert "\n" not in str(caught.value)


def test_choice(tmp_path):
    assert isinstance(choose(tmp_path, "mqtt://10.0.0.1", 0), External)
    assert isinstance(choose(tmp_path, None, 0, find=lambda: None), Embedded)
    assert isinstance(choose(tmp_path, None, 0, find=lambda: "/usr/sbin/mosquitto"), Mosquitto)


def test_a_free_port_is_never_one_that_a_client_may_be_given():
    """Found with RabbitMQ, which takes seconds to listen: who polled its port meanwhile was connected to himself."""
    first = int(brokers.CLIENT_PORTS.read_text().split()[0])
    assert all(brokers.LOWEST_PORT <= free_port() < first for _ in range(50))


@pytest.mark.parametrize("text", ["", "nonsense", "1024 65535", None])
def test_where_the_range_of_clients_says_nothing_the_usual_one_is_assumed(tmp_path, monkeypatch, text):
    if text is not None:
        (tmp_path / "range").write_text(text)
    monkeypatch.setattr(brokers, "CLIENT_PORTS", tmp_path / "range")
    assert brokers.LOWEST_PORT <= free_port() < brokers.CLIENT_PORTS_USUALLY


def test_a_broker_that_refuses_is_one_line(tmp_path):
    program = require_program("mosquitto", "mosquitto")
    port = free_port()
    (tmp_path / "users").write_text("")
    (tmp_path / "c.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path}/users\nuser root\n"
    )
    with subprocess.Popen([program, "-c", str(tmp_path / "c.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: not brokers._is_free(port), "it listens")
            with pytest.raises(LinkError, match="refuses: Not authorized; check --broker-credentials"):
                Link(f"mqtt://ann:wrong@127.0.0.1:{port}", "test", (), lambda _: None).start()
        finally:
            process.kill()


def test_a_broker_may_have_as_many_connections_as_the_system_allows():
    """With the 1,024 files that a service or a shell is usually given, anybody could take all connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
    try:
        started = brokers.spawn_tethered(["sleep", "60"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        most = min(hard, brokers.MOST_FILES) if hard != resource.RLIM_INFINITY else brokers.MOST_FILES
        assert resource.prlimit(started.pid, resource.RLIMIT_NOFILE) == (most, hard)
    finally:
        started.kill()
        started.wait()
