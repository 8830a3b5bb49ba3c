"""The same rules on brokers that somebody else runs: each is real, and runs on what `skerry broker export` wrote."""

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
from tests.kit.waiting import eventually

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
            kind=request.param, registry=registry, ports=ports, pems=pems, ca=files.ca, keeper=keeper, claim=claim
        )


def caller(fleet, name, client_id=None, port=0):
    return Caller(fleet.ports[port], fleet.ca, fleet.pems[name], client_id or name)


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
        assert took_s < 5.0
        plane.got.clear()
        try_to(thief.say, "skerry/v1/d/edge-66/reported", b"after")
        plane.say("skerry/v1/d/edge-66/desired", b"for it")
        other.say(f"{OTHER}/reported", b"still here")
        eventually(lambda: plane.got, "the others go on")
        assert (plane.topics(), thief.got) == ({f"{OTHER}/reported"}, [])
        assert not other.gone.is_set()
        assert not caller(fleet, "edge-66").come()
