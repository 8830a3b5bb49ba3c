"""`skerry device move`: which devices, what is said of each, and what follows in `pending` and `approve`."""

import json

import pytest

from skerry_host.plane import provision
from skerry_host.plane.provision import Addresses
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import claims
from tests.kit.commands import skerry
from tests.kit.home import make_home
from tests.kit.identities import waiting_board


@pytest.fixture
def home(tmp_path):
    """Of two devices of the old way, and a record whose board has not come."""
    made = make_home(tmp_path / "home")
    skerry(made, "init")
    for name, broker in (("old-1", "mqtt://h"), ("old-2", "mqtt://h"), ("edge-1", "mqtts://h")):
        words = ("--board", "generic-x86", "--broker", broker, "--config-only", "--out", str(tmp_path / name))
        skerry(made, "device", "provision", name, *words)
    provision.write_addresses(made, Addresses("mqtts://host.example:8883", None, "mqtts://host.example:8884", "mtls"))
    return made


def device(home, *words):
    done = skerry(home, "device", *words, "--json", check=False)
    said = json.loads(done.stdout or done.stderr)
    return done.returncode, said.get("error", said) if isinstance(said, dict) else said


def test_all_that_can_be_moved_are_and_the_rest_is_named_with_exit_status_3(home):
    code, said = device(home, "move", "old-1", "edge-1", "nobody")
    assert (code, said["moving"]) == (3, ["old-1"])
    assert {each["device"]: each["code"] for each in said["refused"]} == {
        "edge-1": "not_old_way",
        "nobody": "no_device",
    }


def test_all_of_the_old_way_are_moved_by_one_word_and_none_is_an_error(home):
    assert device(home, "move", "--old-way")[1]["moving"] == ["old-1", "old-2"]
    assert device(home, "move", "--cancel", "--old-way")[1]["cancelled"] == ["old-1", "old-2"]
    assert device(home, "move", "--cancel", "old-1")[0] == 2
    skerry(home, "device", "retire", "old-1", "old-2")
    assert device(home, "move", "--old-way")[1]["code"] == "no_devices"


@pytest.mark.parametrize("words", [(), ("--old-way", "old-1"), ("--group", "all", "old-1")])
def test_one_way_of_choosing_is_needed(home, words):
    assert skerry(home, "device", "move", *words, check=False).returncode == 2


def test_an_address_that_only_this_machine_can_call_is_warned_of_and_one_without_tls_refused(home):
    done = skerry(home, "device", "move", "old-1", "--broker", "mqtts://127.0.0.1:8883")
    assert "only this machine can call mqtts://127.0.0.1:8883" in done.stderr
    words = ("--broker", "mqtt://h", "--enroll-broker", "mqtts://h")
    assert skerry(home, "device", "move", "old-1", *words, check=False).returncode == 2
    provision.write_addresses(home, Addresses("mqtt://127.0.0.1:1883"))
    assert device(home, "move", "old-1")[1]["code"] == "no_enrolment"


def test_who_asks_is_listed_with_the_device_that_it_moves_as_and_approved_without_its_name(home):
    device(home, "move", "old-1")
    with open_registry(home.registry) as opened, opened.write() as session:
        row = waiting_board()
        row.claim = claims.all_claims(session)[0].name
        claims.wait(session, row)
    assert [each["moves"] for each in device(home, "pending")[1]] == ["old-1"]
    assert "move of old-1" in skerry(home, "device", "pending").stdout
    assert device(home, "approve", "AAAA-AAAA", "--as", "old-2")[1]["code"] == "other_device"
    assert device(home, "approve", "AAAA-AAAA")[1]["device"] == "old-1"


def test_a_board_that_moves_as_no_device_is_approved_with_its_name_only(home):
    with open_registry(home.registry) as opened, opened.write() as session:
        claims.wait(session, waiting_board())
    done = skerry(home, "device", "approve", "AAAA-AAAA", check=False)
    assert done.returncode == 2
    assert "give --as" in done.stderr
