"""At which address a broker is opened to other machines. Who may connect there: tests/host/plane/access."""

import stat

import pytest

from skerry_host.plane.broker.listening import only_this_machine, opening, outward_address
from tests.kit.commands import skerry
from tests.kit.home import make_home


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


def test_a_plain_broker_is_not_opened_to_other_machines(tmp_path):
    refused = skerry(make_home(tmp_path / "home"), "serve", "--plain", "--listen", "auto", check=False)
    assert (refused.returncode, "--plain is for this machine only" in refused.stderr) == (2, True)
