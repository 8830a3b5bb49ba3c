"""A broker with identities as `skerry serve` starts it: who may say and hear what, and how revocations come into force.

Every client here is a real one, with a certificate that the fleet's authority has signed.
"""

import os
import signal
import socket
import stat
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from skerry_host.identity.authority import Authority
from skerry_host.plane.access.keeper import read_state, running
from skerry_host.plane.access.serving import keeper_of, secured_broker, state_file
from skerry_host.plane.access.source import access_of
from skerry_host.plane.broker.listening import Opening
from skerry_host.plane.broker.mosquitto_conf import MAX_ENROLLING, OWN_FILES
from skerry_host.plane.broker.secured import Ports
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from tests.kit.callers import Caller, claimed, enrolled, write
from tests.kit.csr import csr_of, device_key
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system

FREE = Ports(0, 0, 0)
ELSEWHERE = "127.0.0.2"
"""Stands for an address in a network: another listener than that of 127.0.0.1."""
OWN = "skerry/v1/d/edge-17"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two enrolled devices, one of the old way, a claim; a broker, and a keeper at work."""
    home = make_home(tmp_path_factory.mktemp("fleet") / "home")
    now = time.time()
    with ExitStack() as stack:
        registry = stack.enter_context(open_registry(home.registry))
        pems = {name: enrolled(home, registry, name, now) for name in ("edge-17", "edge-18")}
        claim, pems["claim"] = claimed(home, registry, 50, now)
        old_device(registry, "old-1", now)
        program = require_program("mosquitto", "mosquitto")
        opened = Opening(ELSEWHERE, "s3cret-_")
        broker = stack.enter_context(secured_broker(home, registry, program, FREE, opened))
        keeper = stack.enter_context(running(keeper_of(home, registry, broker), lambda work: work))
        made = SimpleNamespace(home=home, registry=registry, broker=broker, keeper=keeper, pems=pems, claim=claim)
        eventually(lambda: keeper.state.holds and broker.old.pid, "the rules are in force")
        yield made


def old_device(registry, name, now):
    from skerry_host.fleet.device import Device
    from skerry_host.plane.registry.records import devices

    with registry.write() as session:
        devices.add(session, Device(name, "generic-x86", targets=("cpu",)), now)


def caller(fleet, name, client_id="anyone", port=None, **more):
    """With a certificate, at the operation listener unless another port is given."""
    pem = fleet.pems.get(name) or getattr(fleet.broker.files, f"{name}_cert")
    return Caller(port or fleet.broker.operation.port, fleet.broker.files.ca, pem, client_id, **more)


def plane_id_of(fleet):
    return caller(fleet, "plane")


def test_a_device_that_subscribes_to_everything_gets_its_own_topics_and_blobs_only(fleet):
    """Case I7 of the threat table, cases 13, 14, 15 of security.md."""
    others = "skerry/v1/d/edge-18"
    with plane_id_of(fleet) as plane, caller(fleet, "edge-17") as device:
        plane.subscribe("skerry/v1/d/+/reported", "skerry/v1/d/+/desired", "skerry/v1/t/+/+")
        plane.say(f"{others}/desired", b"secret", retain=True)
        device.subscribe("#", f"{others}/desired", "skerry/v1/d/+/desired", "$SYS/#")
        for topic in (f"{OWN}/desired", f"{others}/desired", f"{others}/command", "skerry/v1/blob/aa/0", "other/topic"):
            plane.say(topic, b"from the plane")
        for topic in (
            f"{others}/reported",
            f"{others}/state",
            f"{OWN}/desired",
            f"{OWN}/receipt",
            "skerry/v1/blob/a/1",
        ):
            device.say(topic, b"forged")
        device.say(f"{OWN}/reported", b"its own")
        device.say("skerry/v1/t/00/edge-17", b"its own")
        eventually(lambda: len([1 for _, text in plane.got if text == b"its own"]) == 2, "what it may say arrives")
        eventually(lambda: f"{OWN}/desired" in device.topics(), "what is for it arrives")
    assert b"forged" not in {text for _, text in plane.got}
    assert device.topics() == {f"{OWN}/desired", "skerry/v1/blob/aa/0"}


def test_nobody_throws_out_a_device_or_the_plane_by_using_its_client_id(fleet):
    """Of the same kind as case I9: client ids are one space within a mosquitto process, whatever the listener."""
    enrolment, old = fleet.broker.enrolling.port, fleet.broker.old.port
    with plane_id_of(fleet) as plane, caller(fleet, "edge-17") as victim, ExitStack() as stack:
        for name in ("@plane", "edge-17"):
            stack.enter_context(caller(fleet, "edge-18", name))
            stack.enter_context(caller(fleet, "claim", name, enrolment))
            stack.enter_context(Caller(old, client_id=name))
        victim.say(f"{OWN}/ask", b"still here")
        assert not victim.gone.is_set()
        assert not plane.gone.is_set()


def test_two_boards_of_one_claim_never_throw_each_other_out_and_read_nothing_but_their_answer(fleet):
    """Case I9 of the threat table, and I2: who has stolen a claim can ask, and read nothing else."""
    port, key = fleet.broker.enrolling.port, "0123456789abcdef"
    mine = f"skerry/v1/enroll/{fleet.claim}/{key}"
    plane = Caller(port, fleet.broker.files.ca, fleet.broker.files.plane_cert)
    with plane, caller(fleet, "claim", "board-a", port) as one, caller(fleet, "claim", "board-b", port) as two:
        plane.subscribe("skerry/v1/enroll/+/+/csr")
        one.subscribe("#", f"{mine}/cert")
        one.say(f"{mine}/csr", b"please")
        two.say("skerry/v1/enroll/@claim-999/0000/csr", b"forged")
        eventually(lambda: plane.got == [(f"{mine}/csr", b"please")], "the plane hears it")
        plane.say(f"{mine}/cert", b"welcome")
        plane.say("skerry/v1/enroll/@birth-edge-17/0123456789abcdef/cert", b"another's")
        eventually(lambda: one.got, "the board hears it")
        assert one.topics() == {f"{mine}/cert"}
        assert not one.gone.is_set()
        assert not two.gone.is_set()


def test_a_claim_or_a_birth_certificate_is_refused_in_operation(fleet):
    """Case I2: on that listener a claim could read every model."""
    fleet.pems["birth"] = fleet.home.devices / "@birth-edge-17.pem"
    assert not caller(fleet, "claim").come()
    assert not caller(fleet, "birth").come()


def test_a_certificate_of_another_authority_one_that_has_expired_and_none_are_refused(fleet, tmp_path):
    """Case 16 of security.md."""
    key = device_key()
    foreign = Authority.open(tmp_path / "other", time.time()).device(csr_of(key), "edge-17").pem
    fleet.pems["foreign"] = write(tmp_path / "foreign.pem", foreign, key)
    expired = Authority.open(fleet.home.identity, time.time() - 100 * 86400).device(csr_of(key), "edge-17").pem
    fleet.pems["expired"] = write(tmp_path / "expired.pem", expired, key)
    assert not caller(fleet, "foreign").come()
    assert not caller(fleet, "expired").come()
    assert not Caller(fleet.broker.operation.port, fleet.broker.files.ca, None).come()
    assert not Caller(fleet.broker.operation.port).come()


def test_a_revoked_device_is_mute_both_ways_within_five_seconds_and_does_not_come_back(fleet):
    """Cases I6 of the threat table, 18 and 19 of security.md: over a restart of the broker too; others go on."""
    fleet.pems["edge-66"] = enrolled(fleet.home, fleet.registry, "edge-66", time.time())
    with plane_id_of(fleet) as plane, caller(fleet, "edge-66") as thief, caller(fleet, "edge-17") as other:
        plane.subscribe("skerry/v1/d/+/reported")
        thief.subscribe("skerry/v1/d/edge-66/desired")
        other.subscribe(f"{OWN}/desired")
        thief.say("skerry/v1/d/edge-66/reported", b"before")
        eventually(lambda: plane.got, "it is heard")
        with fleet.registry.write() as session:
            identities.revoke(session, "edge-66", "stolen", time.time())
            label = access_of(session).label  # not just another: the keeper may be at what came before
        began = time.monotonic()
        eventually(lambda: fleet.keeper.state.in_force == label, "it is in force", 5.0)
        assert time.monotonic() - began < 5.0
        plane.got.clear()
        thief.say("skerry/v1/d/edge-66/reported", b"after")
        plane.say("skerry/v1/d/edge-66/desired", b"for it")
        other.say(f"{OWN}/reported", b"still here")
        plane.say(f"{OWN}/desired", b"still here")
        eventually(lambda: plane.got and other.got, "the others go on")
        assert (plane.topics(), thief.got) == ({f"{OWN}/reported"}, [])
        assert not other.gone.is_set()
        assert not caller(fleet, "edge-66").come()
    fleet.pems["birth-66"] = fleet.home.devices / "@birth-edge-66.pem"
    assert not caller(fleet, "birth-66", port=fleet.broker.enrolling.port).come()
    os.kill(fleet.broker.operation.pid, signal.SIGKILL)
    eventually(fleet.broker.ensure, "it is started again")
    assert not caller(fleet, "edge-66").come()
    with caller(fleet, "edge-18"):
        pass


def test_the_enrolment_listener_takes_a_bounded_number_of_connections(fleet):
    """Also after a reload, at which mosquitto forgets `max_connections`: whoever has a claim could fill the memory."""
    limits = Path(f"/proc/{fleet.broker.enrolling.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) <= MAX_ENROLLING + OWN_FILES


def test_the_session_of_a_revoked_device_ends_with_all_that_it_had_subscribed_to(fleet):
    """Shared subscriptions are as many as one likes: of 200,000 each message of anybody took the broker 0.2 s."""
    fleet.pems["edge-67"] = enrolled(fleet.home, fleet.registry, "edge-67", time.time())
    with caller(fleet, "edge-67") as thief, caller(fleet, "edge-17") as other:
        thief.subscribe(*(f"$share/group-{number}/#" for number in range(1000)))
        with fleet.registry.write() as session:
            identities.revoke(session, "edge-67", "stolen", time.time())
        assert thief.gone.wait(10)
        assert not other.gone.is_set()
        assert not caller(fleet, "edge-67").come()


def test_what_is_in_force_is_noted_with_since_when(fleet):
    state = read_state(state_file(fleet.home))
    assert state.wanted == state.in_force
    assert state.since <= state.tried <= time.time()


def test_the_old_way_in_reaches_the_topics_of_devices_without_an_identity_only(fleet):
    """Trust.md, section 10: agents of before go on, over a bridge."""
    old = "skerry/v1/d/old-1"
    with plane_id_of(fleet) as plane, Caller(fleet.broker.old.port, client_id="old-1") as device:
        plane.subscribe("skerry/v1/d/+/reported")
        device.subscribe("#")
        plane.say(f"{old}/desired", b"for it", retain=True)
        plane.say(f"{OWN}/desired", b"not for it", retain=True)
        plane.say("skerry/v1/blob/bb/0", b"a chunk", retain=True)
        device.say(f"{OWN}/reported", b"forged")
        device.say(f"{old}/reported", b"its own")
        eventually(lambda: len(device.got) >= 2 and plane.got, "both ways")
        assert plane.got == [(f"{old}/reported", b"its own")]
        assert device.topics() == {f"{old}/desired", "skerry/v1/blob/bb/0"}


def test_elsewhere_the_old_way_in_asks_for_the_password_that_devices_were_given(fleet):
    """What `--listen` opens: certificates for operation and enrolment, the password of before for the old listener."""
    port = fleet.broker.old.port
    assert Caller(port, host=ELSEWHERE, login=("skerry", "s3cret-_")).come()
    assert not Caller(port, host=ELSEWHERE, login=("skerry", "wrong")).come()
    assert not Caller(port, host=ELSEWHERE).come()
    assert caller(fleet, "edge-18", host=ELSEWHERE).come()
    assert fleet.broker.devices_url == f"mqtts://{ELSEWHERE}:{fleet.broker.operation.port}"
    secret = fleet.home.broker / "passwords"
    assert (stat.S_IMODE(secret.stat().st_mode), "s3cret" in secret.read_text()) == (0o600, False)


def test_the_old_listener_closes_with_the_last_device_that_needs_it_and_opens_for_a_new_one(fleet):
    with fleet.registry.write() as session:
        identities.retire(session, "old-1", time.time())
    eventually(lambda: fleet.broker.old.pid is None, "it is closed", 5.0)
    assert not Caller(fleet.broker.old.port).come()
    old_device(fleet.registry, "old-2", time.time())
    eventually(lambda: Caller(fleet.broker.old.port, client_id="old-2").come(), "it is open", 5.0)


def test_a_port_that_somebody_takes_ends_neither_rollouts_nor_revocations(tmp_path, caplog):
    """The old listener's, and the enrolment listener's when its process has died: told, tried again, by themselves."""
    home, now, program = make_home(tmp_path / "home"), time.time(), require_program("mosquitto", "mosquitto")
    with open_registry(home.registry) as registry, socket.socket() as taken:
        pem = enrolled(home, registry, "edge-17", now)
        old_device(registry, "old-1", now)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = Ports(0, 0, taken.getsockname()[1])
        with secured_broker(home, registry, program, ports, None) as broker:
            keeper = keeper_of(home, registry, broker)
            keeper.look(now)
            assert keeper.state.holds
            assert broker.old.pid is None
            os.kill(broker.enrolling.pid, signal.SIGKILL)
            eventually(lambda: broker.enrolling.pid is None, "it has ended")
            with socket.socket() as also:
                also.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                also.bind(("127.0.0.1", broker.enrolling.port))
                also.listen()
                assert broker.ensure() is False
                with registry.write() as session:
                    identities.revoke(session, "edge-17", "stolen", now)
                keeper.look(now + 1)
                assert not Caller(broker.operation.port, broker.files.ca, pem).come()
            eventually(lambda: broker.ensure() or broker.enrolling.pid is not None, "tried again", 10.0)
    assert f"the old listener is closed, tried again in 5 s: port {ports.old} is used by" in caplog.text
    assert "choose another with --old-port" in caplog.text
