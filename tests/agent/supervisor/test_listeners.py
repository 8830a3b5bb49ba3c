"""The sockets of an inference API: what the Unix socket's file is before, while and after it serves."""

import contextlib
import os
import socket
import stat

import pytest

from skerry_agent import log
from skerry_agent.config import ModelSection
from skerry_agent.log.output import Output
from skerry_agent.runner.http.messages import json_response
from skerry_agent.runner.http.server import Server
from skerry_agent.state.ports import PORTS_FILE, KeptPorts
from skerry_agent.supervisor import listeners
from tests.kit.site import Site


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


def port_of(site, model="m"):
    return int(site.agent.status().http[model].rpartition(":")[2])


def issues(site):
    """Those of listeners; the device here has no keys."""
    return tuple(issue for issue in site.agent.status().issues if "trust.json" not in issue)


def close(site):
    """What the end of its process does."""
    for each in site.agent._listeners.values():
        for file in (each.sockets.tcp, each.sockets.unix):
            if file is not None:
                file.close()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A device on this folder; all sockets are closed in the end.

    Its ports are of a range that other tests' agents do not take from: a port that is given up here must stay free.
    """
    first = 10_000 + 100 * (os.getpid() % 40)
    monkeypatch.setattr(listeners, "PORTS", range(first, first + 100))
    sites = []

    def begin(models=None, folder="device"):
        sites.append(Site(tmp_path / folder, models if models is not None else {"m": ModelSection()}))
        return sites[-1]

    yield begin
    for site in sites:
        close(site)


def test_the_first_port_is_the_one_that_the_documents_name():
    assert (listeners.PORTS[0], listeners.LOOPBACK) == (8000, "127.0.0.1")


def test_a_model_keeps_the_port_that_was_chosen_for_it(start):
    """The first that is free; the same after a restart, whatever has become free below it since."""
    with socket.create_server(("127.0.0.1", 0)):
        first = start()
    port = port_of(first)
    assert port in listeners.PORTS
    close(first)
    assert port_of(start()) == port


def test_each_model_and_each_device_gets_a_port_of_its_own(start):
    models = {"a": ModelSection(), "b": ModelSection()}
    one, other = start(models, "one"), start(models, "other")
    ports = {port_of(site, model) for site in (one, other) for model in models}
    assert len(ports) == 4
    close(one)
    late = start({"late": ModelSection()}, "one")
    assert port_of(late, "late") not in {KeptPorts(late.agent.config.state_dir).find(model) for model in models}


def test_a_port_that_is_taken_later_is_an_issue_with_a_name_and_no_other_port(start):
    first = start()
    port = port_of(first)
    close(first)
    with socket.create_server(("127.0.0.1", port)):
        again = start()
        status = again.agent.status()
        assert status.http == {}
        (issue,) = issues(again)
        assert f"port {port} of m cannot be used: " in issue
        assert f"(process {os.getpid()}) listens there" in issue
        assert "agent.toml" in issue
        assert status.unix["m"].endswith("/sockets/m.sock")
        again.clock.advance(10)
        assert issues(again) == (issue,)
    again.clock.advance(2)
    assert port_of(again) == port
    assert issues(again) == ()


@pytest.mark.parametrize("address", ["taken", "192.0.2.1:8000", "a..b:1"])
def test_an_address_that_cannot_be_had_is_an_issue_and_no_other_is_taken(start, address):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = address.replace("taken", "127.0.0.1:{}".format(*other.getsockname()[1:]))
        site = start({"m": ModelSection(address)})
        assert site.agent.status().http == {}
        assert issues(site)[0].startswith(f"models.m.http: {address} cannot be used: ")


def test_port_0_is_any_free_one_and_is_not_kept(start):
    site = start({"m": ModelSection("127.0.0.1:0")})
    assert port_of(site) > 0
    assert KeptPorts(site.agent.config.state_dir).find("m") is None


def test_an_ipv6_address(start):
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            pytest.skip("this machine has no IPv6")
        site = start({"m": ModelSection("[::1]:0")})
    assert site.agent.status().http["m"].startswith("http://[::1]:")
    assert issues(site) == ()


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-3], lambda raw: b"", lambda raw: raw[::-1]])
def test_a_damaged_record_of_ports_is_said_and_costs_no_service(start, spoil):
    first = start()
    close(first)
    file = first.agent.config.state_dir / PORTS_FILE
    file.write_bytes(spoil(file.read_bytes()))
    again = start()
    assert port_of(again) in listeners.PORTS
    assert "chosen anew" in issues(again)[0]
    close(again)
    assert issues(start()) == ()


def test_the_usual_unix_socket_is_no_issue_where_it_cannot_be_but_logged(start, tmp_path):
    with (tmp_path / "log").open("w+") as stream:
        log.start("info", Output(stream, {}))
        assert start({"m": ModelSection()}, "deep/" + "x" * 100).agent.status().unix == {}
        blocked = start({}, "blocked")
        (blocked.agent.config.state_dir / "sockets").write_text("a file")
        site = start({"m": ModelSection()}, "blocked")
        assert (site.agent.status().unix, issues(site)) == ({}, ())
        assert start({"m": ModelSection(unix="")}, "none").agent.status().unix == {}
        log.stop()
    said = (tmp_path / "log").read_text().splitlines()
    reasons = [line.partition("it has no Unix socket: ")[2] for line in said if "no Unix socket" in line]
    assert len(reasons) == 2
    assert reasons[0].startswith("its path in the state folder is longer than 107 bytes")
    assert reasons[1].startswith(f"{blocked.agent.config.state_dir}/sockets/m.sock cannot be used: ")


@pytest.fixture
def spawn_on():
    """Serve on a model's sockets, in this process, as a runner does."""
    servers = []

    def serve(sockets):
        doors = [socket.socket(fileno=os.dup(file.fileno())) for file in (sockets.tcp, sockets.unix)]
        servers.append((Server(doors, lambda _ready: Live()), doors))
        servers[-1][0].start()

    yield serve
    for server, doors in servers:
        server.drain(0)
        for door in doors:
            door.close()


class Live:
    """Answers whatever is asked."""

    max_body_bytes = 0

    def answer(self, _request):
        return json_response({})


def test_a_runner_serves_on_a_port_from_the_moment_at_which_it_is_free(spawn_on, start):
    first = start()
    port = port_of(first)
    close(first)
    with socket.create_server(("127.0.0.1", port)):
        again = start()
        spawn_on(again.agent._listeners["m"].sockets)
    again.clock.advance(2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
