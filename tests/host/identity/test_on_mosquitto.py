"""The authority's files, judged by a real mosquitto and by Python's TLS: who gets in, who does not, and when."""

import time

import pytest

from skerry_host.identity import key_files
from skerry_host.identity.authority import Authority
from skerry_host.identity.files import plane_identity
from tests.kit.csr import csr_of, device_key
from tests.kit.mtls import MutualTls, received, server_certificate

pytestmark = pytest.mark.system

DAY_S = 86_400
NOW = time.time()


class Site:
    """A fleet's authority, and the certificates of devices, each in a file with its key."""

    def __init__(self, folder):
        self.folder, self.identity = folder, folder / "identity"
        self.files = plane_identity(self.identity, ["broker.local"], NOW)

    def authority(self, now=NOW):
        return Authority.open(self.identity, now)

    def device(self, name, *, now=NOW):
        key = device_key()
        return self._file(name, self.authority(now).device(csr_of(key), name), key)

    def birth(self, name):
        key = device_key()
        return self._file(f"birth-{name}", self.authority().birth(csr_of(key), name), key)

    def claim(self):
        pair = self.authority().claim("@claim-7", 7)
        path = self.folder / "claim.pem"
        path.write_bytes(pair.pem + pair.key_pem)
        return path

    def _file(self, name, issued, key):
        path = self.folder / f"{name}.pem"
        path.write_bytes(issued.pem + key_files.key_pem(key))
        return path, issued


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_who_has_a_certificate_of_the_fleet_is_received_and_nobody_else(site, tmp_path):
    """Case 16 of the security cases: no certificate, another CA's, an expired one, a server's: refused."""
    (tmp_path / "foreign").mkdir()
    ca, foreign = site.files.ca, Site(tmp_path / "foreign")
    good, _ = site.device("edge-17")
    refused = {
        "none": None,
        "foreign": foreign.device("edge-17")[0],
        "expired": site.device("edge-18", now=NOW - 91 * DAY_S)[0],
        "not yet": site.device("edge-19", now=NOW + 3 * DAY_S)[0],
        "server": site.files.server_cert,
        "claim": site.claim(),
        "birth": site.birth("edge-17")[0],
    }
    with MutualTls(tmp_path / "mosquitto", site.files) as broker:
        assert received(broker.port, ca, site.files.plane_cert) == "accepted"
        assert received(broker.port, ca, good) == "accepted"
        taken = [why for why, path in refused.items() if received(broker.port, ca, path) == "accepted"]
        assert taken == []


def test_claims_and_birth_certificates_are_taken_where_enrolment_is_and_only_there(site, tmp_path):
    """Case I2 of the threat table: what lies on every board of an image opens no other listener."""
    with MutualTls(tmp_path / "mosquitto", site.files, site.files.enrolment_chain) as broker:
        for path in (site.claim(), site.birth("edge-17")[0], site.files.plane_cert):
            assert received(broker.port, site.files.ca, path) == "accepted"


def test_a_client_that_pins_only_the_root_knows_its_broker_by_its_names(site, tmp_path):
    with MutualTls(tmp_path / "mosquitto", site.files) as broker:

        def ask(host):
            return received(broker.port, site.files.ca, site.files.plane_cert, host=host)

        assert {ask(host) for host in ("localhost", "127.0.0.1", "::1", "broker.local")} == {"accepted"}
        assert "Hostname mismatch" in ask("other.local")


def test_a_board_without_a_clock_still_knows_its_broker(site, tmp_path):
    """Case U9: its clock says 1970, so it checks everything but the time: here with a server's certificate of 2038."""
    late = site.authority(2_200_000_000.0).server(["127.0.0.1"])
    site.files.server_cert.write_bytes(late.pem + late.key_pem)
    ca, cert = site.files.ca, site.files.plane_cert
    with MutualTls(tmp_path / "mosquitto", site.files) as broker:
        assert "not yet valid" in received(broker.port, ca, cert)
        assert received(broker.port, ca, cert, clockless=True) == "accepted"
        (tmp_path / "foreign").mkdir()
        other = Site(tmp_path / "foreign").files.ca
        assert "verify failed" in received(broker.port, other, cert, clockless=True)


def test_a_revoked_certificate_is_refused_after_a_reload_and_others_are_not(site, tmp_path):
    """Case 19: valid devices still connect after the list was read again."""
    (good, _), (stolen, issued) = site.device("edge-17"), site.device("edge-18")
    with MutualTls(tmp_path / "mosquitto", site.files) as broker:
        assert received(broker.port, site.files.ca, stolen) == "accepted"
        plane_identity(site.identity, ["broker.local"], NOW, [(issued.serial, NOW)])
        broker.reload()
        assert received(broker.port, site.files.ca, stolen) != "accepted"
        assert received(broker.port, site.files.ca, good) == "accepted"
        plane_identity(site.identity, ["broker.local"], NOW)  # as a plane does that starts, and knows no serials yet
        broker.reload()
        assert received(broker.port, site.files.ca, stolen) != "accepted"


def test_a_reload_shows_the_new_certificate_of_a_server_that_has_got_another_name(site, tmp_path):
    with MutualTls(tmp_path / "mosquitto", site.files) as broker:
        before = server_certificate(broker.port)
        plane_identity(site.identity, ["new.local"], NOW)
        broker.reload()
        assert server_certificate(broker.port) != before
        assert received(broker.port, site.files.ca, site.files.plane_cert, host="new.local") == "accepted"
