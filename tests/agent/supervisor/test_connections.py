"""The device's one link before and after it has an identity: closed until it may be used, and counted through."""

import time

import pytest
from msgspec.structs import replace

from skerry_agent.identity.ports import Credentials, Events
from skerry_agent.supervisor.connections import DeviceLink, Place, QuickLink
from skerry_agent.wire.broker_url import parse
from skerry_host.identity.files import plane_identity
from tests.kit.brokers import Mosquitto
from tests.kit.mtls import MutualTls
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system


class Rig:
    """A link to a real broker that wants certificates; events are noted."""

    def __init__(self, files, port):
        self.files, self.wills, self.heard, self.downs, self.ups = files, [], [], [], 0
        address = parse(f"mqtts://127.0.0.1:{port}")
        self.link = DeviceLink(Place(address, address, files.ca), lambda call: call(), self.will)

    def will(self, device, connection):
        self.wills.append((device, connection))
        return f"skerry/v1/d/{device}/state", b"gone"

    def up(self):
        self.ups += 1

    def events(self):
        return Events(self.up, lambda topic, payload: self.heard.append(topic), lambda kind, _: self.downs.append(kind))

    def credentials(self, name, **more):
        return Credentials(name, self.files.plane_cert, self.files.plane_key, **more)


@pytest.fixture
def rig(tmp_path):

    files = plane_identity(tmp_path / "identity", ["localhost"], time.time())
    with MutualTls(tmp_path / "mosquitto", files) as broker:
        made = Rig(files, broker.port)
        yield made
        made.link.stop()


def test_the_supervisor_sees_no_link_before_it_is_released_and_none_again_after_it_was_lost(rig):
    assert (rig.link.connected, rig.link.connection, rig.link.why_offline) == (
        False,
        0,
        "no connection was tried yet",
    )
    inner = rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.ups == 1, "it is up")
    assert (rig.link.connected, rig.link.publish("t", b"x")) == (False, None)
    assert rig.link.why_offline == "the host's time is asked for"
    begins, ends = inner.broker_dates()
    assert ends - begins > 700 * 86_400
    rig.link.release()
    assert rig.link.connected
    assert rig.link.publish("t", b"x") is not None
    rig.link.renew()
    eventually(lambda: rig.ups == 2, "it is up again", 20.0)
    assert not rig.link.connected


def test_another_name_is_another_connection_and_attempts_are_counted_through(rig):
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.ups == 1, "it is up")
    rig.link.operate(rig.credentials("edge-2"), rig.events())
    eventually(lambda: rig.ups == 2, "it is up")
    assert [name for name, _ in rig.wills] == ["edge-1", "edge-2"]
    assert [number for _, number in rig.wills] == sorted({number for _, number in rig.wills})
    assert rig.link.connection == rig.wills[-1][1]


def test_a_certificate_that_cannot_be_used_is_a_reason_why_there_is_no_link(rig, tmp_path):
    (tmp_path / "rotten.pem").write_text("rotten")
    rig.link.operate(Credentials("edge-1", tmp_path / "rotten.pem", rig.files.plane_key), rig.events())
    eventually(lambda: rig.downs, "it is told")
    assert rig.downs[0] == "unusable_certificate"
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.ups == 1, "the next attempt has the new one", 20.0)


def test_a_link_that_asks_for_an_identity_has_no_will_and_stops_without_waiting(rig):
    asking = rig.link.enrol(rig.credentials(""), rig.events())
    eventually(lambda: rig.ups == 1, "it is up")
    assert rig.wills == []
    asking.stop()
    eventually(lambda: not asking.connected, "it has ended")


@pytest.fixture
def old_way(rig, tmp_path):
    """Begins the old way of the same device, over a broker without TLS; `made` counts its links."""
    with Mosquitto(tmp_path / "old") as broker:
        made = []

        def make():
            made.append(1)
            address = parse(f"mqtt://127.0.0.1:{broker.port}")
            return QuickLink(address, "edge-1", lambda _number: rig.will("edge-1", rig.link.connection))

        def begin():
            rig.link.go_old_way(make, Events(lambda: rig.heard.append("old way"), lambda *_: None, lambda *_: None))
            eventually(lambda: rig.link.connected, "it is there the old way")

        begin.made = made
        yield begin


def test_a_device_that_moves_is_on_the_old_way_until_the_new_one_may_be_used_and_again_when_that_ends(rig, old_way):
    old_way()
    rig.link.operate(rig.credentials("edge-1", provisional=True), rig.events())
    eventually(lambda: rig.ups == 1, "the new way is up")
    assert rig.link.connected, "the old way, until it is released"
    rig.link.release()
    assert rig.link.connected
    assert rig.link.issue is None
    rig.link.renew()
    eventually(lambda: rig.heard == ["old way"] * 2, "the old way is there again")
    numbers = [number for _, number in rig.wills]
    assert numbers == sorted(set(numbers)), "each connection counts above those before, whichever way"


def test_a_new_way_that_cannot_be_reached_leaves_a_device_on_the_old_one_and_is_named(rig, old_way):
    old_way()
    rig.link.place = replace(rig.link.place, broker=parse("mqtts://127.0.0.1:9"))
    rig.link.operate(rig.credentials("edge-1", provisional=True), rig.events())
    eventually(lambda: rig.downs, "there is no new way")
    assert (rig.link.connected, rig.link.why_offline, len(old_way.made)) == (True, "", 1)
    assert "127.0.0.1:9 is not reached, so this device goes on by agent.toml" in rig.link.issue


def test_with_an_identity_for_good_nobody_goes_the_old_way_any_more(rig, old_way):
    old_way()
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    assert not rig.link.connected
    eventually(lambda: rig.ups == 1, "it is up")
    rig.link.release()
    rig.link.renew()
    eventually(lambda: rig.ups == 2, "it is up again", 20.0)
    assert len(old_way.made) == 1


def test_a_broker_that_is_elsewhere_takes_the_connection_of_an_identity_with_it(rig):
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.ups == 1, "it is up")
    rig.link.release()
    here = rig.link.place.broker
    rig.link.relocate(parse("mqtts://127.0.0.1:9"), metered=False)
    assert not rig.link.connected
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.downs, "nobody is there")
    assert (str(rig.link.broker), rig.link.connected) == ("mqtts://127.0.0.1:9", False)
    rig.link.relocate(here, metered=True)
    rig.link.operate(rig.credentials("edge-1"), rig.events())
    eventually(lambda: rig.ups == 2, "it is back")
    numbers = [number for _, number in rig.wills]
    assert numbers == sorted(set(numbers)), "a birth counts above the deaths before, wherever"


def test_a_device_of_the_old_way_is_made_anew_where_it_is_to_go(rig, old_way):
    old_way()
    rig.link.relocate(parse("mqtt://127.0.0.1:9"), metered=False)
    eventually(lambda: rig.heard == ["old way"] * 2, "another link, by what is then said of it")
    assert len(old_way.made) == 2
    assert rig.link.broker.scheme == "mqtt"
