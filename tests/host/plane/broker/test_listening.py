"""A broker that is opened to other machines: who may connect, and what devices are told."""

import stat

import pytest

from skerry_host.plane.broker.broker import Mosquitto
from skerry_host.plane.broker.link import Link
from skerry_host.plane.broker.listening import Opening, only_this_machine, opening, outward_address, without_password
from skerry_host.plane.errors import LinkError
from tests.kit.commands import skerry
from tests.kit.home import make_home
from tests.kit.programs import require_program

ELSEWHERE = "127.0.0.2"
"""Stands for an address in a network: another listener than that of 127.0.0.1."""


def linked(url: str) -> None:
    link = Link(url, "test", (), lambda _: None)
    try:
        link.start()
        assert link.connected
    finally:
        link.stop()


def test_elsewhere_only_the_password_of_agent_toml_lets_in_and_loopback_stays_as_it_was(tmp_path):
    opened = Opening(ELSEWHERE, "s3cret-_")
    with Mosquitto(tmp_path, 0, require_program("mosquitto", "mosquitto"), opened) as broker:
        linked(broker.url)
        linked(broker.devices_url)
        for stranger in (f"mqtt://{ELSEWHERE}:{broker.port}", f"mqtt://skerry:wrong@{ELSEWHERE}:{broker.port}"):
            with pytest.raises(LinkError):
                linked(stranger)
    assert broker.devices_url == f"mqtt://skerry:s3cret-_@{ELSEWHERE}:{broker.port}"
    assert stat.S_IMODE((tmp_path / "passwords").stat().st_mode) == 0o600
    assert "s3cret" not in (tmp_path / "passwords").read_text()


def test_the_password_stays_the_same_and_is_its_owners(tmp_path):
    if outward_address() is None:
        pytest.skip("this machine has no address towards a network")
    first = opening(tmp_path, "auto")
    assert opening(tmp_path, first.address) == first
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "only"),
    [
        ("mqtt://127.0.0.1:1883", True),
        ("mqtt://localhost", True),
        ("mqtt://[::1]:1883", True),
        ("mqtts://u:p@127.9.9.9", True),
        ("mqtt://192.0.2.7:1883", False),
        ("mqtt://broker.example", False),
    ],
)
def test_addresses_that_lead_back_to_the_caller(url, only):
    assert only_this_machine(url) is only


def test_an_address_is_shown_without_its_password():
    assert without_password("mqtt://ann:p@ss@h:1") == "mqtt://h:1"
    assert without_password("mqtt://h:1") == "mqtt://h:1"


def test_a_plain_broker_is_not_opened_to_other_machines(tmp_path):
    refused = skerry(make_home(tmp_path / "home"), "serve", "--plain", "--listen", "auto", check=False)
    assert (refused.returncode, "--plain is for this machine only" in refused.stderr) == (2, True)
