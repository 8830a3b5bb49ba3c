"""The same rules on brokers that somebody else runs: each is real, and runs on what `skerry broker export` wrote."""

import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest

from skerry_agent.wire.broker_url import parse
from skerry_host.identity.files import plane_identity
from skerry_host.plane.access.exported import Export, ExportedFolder, export, exported
from skerry_host.plane.access.keeper import Keeper
from skerry_host.plane.access.serving import doors
from skerry_host.plane.access.source import RuleSource
from skerry_host.plane.broker.canary import verdict
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from tests.kit.callers import Caller, claimed, enrolled
from tests.kit.exported_brokers import EXPORTED, two_ports
from tests.kit.home import make_home
from tests.kit.waiting import BUSY, eventually

pytestmark = pytest.mark.system

OWN, OTHER = "skerry/v1/d/edge-17", "skerry/v1/d/edge-18"
KEY = "0123456789abcdef"


class Watched(ExportedFolder):
    """The folder, with what its path unit does when the label changes done here."""

    broker = None

    def write(self, content):
        super().write(content)
        if self.broker:
            self.broker.reload()


@pytest.fixture(scope="module", params=list(EXPORTED))
def fleet(request, tmp_path_factory):
    home, now, ports = make_home(tmp_path_factory.mktemp(request.param) / "home"), time.time(), two_ports()
    with ExitStack() as stack:
        registry = stack.enter_context(open_registry(home.registry))
        pems = {name: enrolled(home, registry, name, now) for name in ("edge-17", "edge-18", "edge-66")}
        claim, pems["claim"] = claimed(home, registry, 2, now)
        chosen = Export(request.param, str(home.root / "exported"), *ports)
        source = RuleSource(registry, home.identity)
        export(home, chosen, source.rules(now), ["127.0.0.1"], now)
        assert exported(home) == chosen
        folder = Watched(chosen)
        folder.broker = stack.enter_context(EXPORTED[request.param](chosen.place.folder, ports))
        files = plane_identity(home.identity, [], now)
        urls = {"operation": f"mqtts://127.0.0.1:{ports[0]}", "enrolment": f"mqtts://127.0.0.1:{ports[1]}"}
        listed = doors({name: parse(url) for name, url in urls.items()}, files)
        keeper = Keeper(source, folder, listed, verdict, home.broker / "access.json")
        pems["plane"] = files.plane_cert
        keeper.look(now)
        assert keeper.state.holds, keeper.state.problem
        yield SimpleNamespace(
            kind=request.param,
            broker=folder.broker,
            registry=registry,
            ports=ports,
            pems=pems,
            ca=files.ca,
            keeper=keeper,
            claim=claim,
            folder=chosen.place.folder,
        )


def caller(fleet, name, client_id=None, port=0, **more):
    return Caller(fleet.ports[port], fleet.ca, fleet.pems[name], client_id or name, **more)


def try_to(act, *arguments, **options):
    """Some brokers end the connection of who oversteps."""
    with suppress(RuntimeError, AssertionError):
        act(*arguments, **options)


def test_a_device_reads_and_writes_its_own_topics_only(fleet):
    """Cases 13 to 15 of security.md, I7 of the threat table: with `skerry broker export` for each broker."""
    with caller(fleet, "plane") as plane:
        plane.subscribe("skerry/v1/d/+/reported", "skerry/v1/d/+/desired")
        plane.say(f"{OTHER}/desired", b"secret", retain=True)
        for topic in ("#", "skerry/v1/#", "skerry/v1/d/+/desired", f"{OTHER}/desired"):
            with caller(fleet, "edge-17") as spy:
                try_to(spy.subscribe, topic)
                try_to(plane.say, f"{OTHER}/desired", b"secret", retain=True)
                time.sleep(0.2)
                assert OTHER not in "".join(spy.topics())
        for topic in (f"{OTHER}/reported", f"{OWN}/desired", f"{OTHER}/desired"):
            with caller(fleet, "edge-17") as forger:
                try_to(forger.say, topic, b"forged", retain=True)
        with caller(fleet, "edge-17") as device:
            device.subscribe(f"{OWN}/desired", "skerry/v1/blob/aa/0")
            device.say(f"{OWN}/reported", b"its own", retain=True)
            plane.say("skerry/v1/blob/aa/0", b"chunk", retain=True)
            plane.say(f"{OWN}/desired", b"for it", retain=True)
            eventually(lambda: len(device.got) >= 2, "what is for it arrives")
            eventually(lambda: (f"{OWN}/reported", b"its own") in plane.got, "what it says arrives")
        assert b"forged" not in {text for _, text in plane.got}


def test_a_claim_asks_and_reads_nothing_but_its_answer(fleet):
    """Case I2 of the threat table."""
    mine = f"skerry/v1/enroll/{fleet.claim}/{KEY}"
    with caller(fleet, "plane", "plane-2", 1) as plane:
        plane.subscribe("skerry/v1/enroll/+/+/csr")
        plane.say("skerry/v1/blob/bb/0", b"a model", retain=fleet.kind != "mosquitto")
        for topic in ("#", "skerry/v1/blob/bb/0", "skerry/v1/enroll/+/+/csr"):
            with caller(fleet, "claim", "board-a", 1) as thief:
                try_to(thief.subscribe, topic)
                try_to(plane.say, "skerry/v1/blob/bb/0", b"a model")
                time.sleep(0.2)
                assert thief.got == []
        with caller(fleet, "claim", "board-b", 1) as board:
            board.subscribe(f"{mine}/cert")
            board.say(f"{mine}/csr", b"please")
            eventually(lambda: plane.got == [(f"{mine}/csr", b"please")], "the plane hears it")
            plane.say(f"{mine}/cert", b"welcome")
            eventually(lambda: board.got == [(f"{mine}/cert", b"welcome")], "the board hears it")


def test_no_will_speaks_for_another_device(fleet):
    """Case 13 of security.md by another way: a will is published by the broker."""
    with caller(fleet, "plane") as plane:
        plane.subscribe("skerry/v1/d/+/state")
        for topic in (f"{OTHER}/state", f"{OWN}/state"):
            dying = caller(fleet, "edge-17", will=topic)
            if dying.come():
                dying.drop()
        eventually(lambda: plane.got, "its own will arrives")
        assert plane.topics() == {f"{OWN}/state"}


@pytest.mark.parametrize("login", [("@plane", ""), ("CN=@plane", ""), ("@plane", "x"), ("guest", "guest")], ids=str)
def test_a_name_and_a_password_count_for_nothing_beside_the_certificate(fleet, login):
    """Users that are known by their certificates have no password, and what a broker ships with is gone."""
    with caller(fleet, "plane") as plane:
        liar = caller(fleet, "edge-17", login=login)
        plane.subscribe(f"{OTHER}/desired")
        if liar.come():
            try_to(liar.say, f"{OTHER}/desired", b"forged by name")
        plane.say(f"{OTHER}/desired", b"the last")
        eventually(lambda: (f"{OTHER}/desired", b"the last") in plane.got, "the last arrives")
        assert b"forged by name" not in {text for _, text in plane.got}


def test_only_mosquitto_binds_client_ids_to_names(fleet):
    """On the others a device can throw out another by its id, though it hears nothing of it: docs/broker.md says so."""
    with caller(fleet, "edge-18") as victim, caller(fleet, "edge-17", "edge-18") as thief:
        thrown_out = victim.gone.wait(1.0)
        assert thrown_out is (fleet.kind != "mosquitto")
        assert thief.got == []


def test_a_revoked_device_is_mute_within_five_seconds_and_does_not_come_back(fleet):
    """Cases I6 of the threat table and 18 of security.md: on a broker that runs as a service."""
    with caller(fleet, "plane") as plane, caller(fleet, "edge-66") as thief, caller(fleet, "edge-18") as other:
        plane.subscribe("skerry/v1/d/+/reported")
        thief.subscribe("skerry/v1/d/edge-66/desired")
        thief.say("skerry/v1/d/edge-66/reported", b"before")
        eventually(lambda: plane.got, "it is heard")
        with fleet.registry.write() as session:
            identities.revoke(session, "edge-66", "stolen", time.time())
        began = time.monotonic()
        fleet.keeper.look(time.time())
        took_s = time.monotonic() - began
        assert fleet.keeper.state.holds, fleet.keeper.state.problem
        assert took_s < 5.0 * BUSY, "2 s on a quiet machine"
        plane.got.clear()
        try_to(thief.say, "skerry/v1/d/edge-66/reported", b"after")
        plane.say("skerry/v1/d/edge-66/desired", b"for it")
        other.say(f"{OTHER}/reported", b"still here")
        eventually(lambda: plane.got, "the others go on")
        assert (plane.topics(), thief.got) == ({f"{OTHER}/reported"}, [])
        assert not other.gone.is_set()
        assert not caller(fleet, "edge-66").come()


@pytest.mark.parametrize("fleet", ["nats"], indirect=True)
def test_nobody_comes_to_nats_by_its_own_protocol_without_a_certificate(fleet):
    """Its users have no password: with an empty one, any local user was the plane."""
    heard = []
    for port in fleet.broker.other_ports():
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.recv(4096)
            plain.sendall(b'CONNECT {"user":"CN=@plane","pass":"","verbose":true,"protocol":1}\r\nPING\r\n')
            with suppress(OSError):
                heard.append(plain.recv(4096))
    assert heard
    assert not any(b"PONG" in each or b"+OK" in each for each in heard)


def test_the_units_are_what_systemd_takes(fleet, tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    for unit in fleet.folder.glob("skerry-*"):
        text = unit.read_text().replace("/usr/bin/env nats-server", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert {"skerry-rules.path", "skerry-rules.service"} <= set(names)
    done = subprocess.run(
        [program, "verify", "--man=no", *names], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if "skerry" in line]
    assert (done.returncode, said) == (0, [])
