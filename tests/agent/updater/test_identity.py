"""The updater makes a device's keys and requests, and takes from a host only what is really for them."""

import base64
import random
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from skerry_agent.ports.jobs import AcceptIdentity, IdentityMade, MakeRequest, Refusal, RequestMade
from skerry_agent.state.identity import IdentityStore, incarnation_of
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.wire.enrolment import EnrolmentRequest, return_proof_bytes
from skerry_host.identity.csr import read_csr
from skerry_host.identity.proof import is_signed
from tests.kit.fleet_host import CLAIM, FleetHost

DAY_S = 86_400.0
NOBODY = KeyTrust({})


class Device:
    """A device's folders, and the jobs of its updater."""

    def __init__(self, folder: Path, host: FleetHost) -> None:
        self.folder, self.state, self.host = host.provision(folder), folder / "state", host
        self.state.mkdir()
        self.incarnation = incarnation_of(self.state)
        self.ca = str(folder / "fleet-ca.pem")

    def request(self, kind="claim", **changes):
        files = {"key_file": str(self.state / "identity" / "device.key")}
        if kind == "claim":
            files = {"cert_file": str(self.folder / "claim.pem"), "key_file": str(self.folder / "claim.key")}
        job = MakeRequest(str(self.state), kind, self.incarnation, self.ca, **files)
        return perform(replace(job, **changes), NOBODY)

    def accept(self, certificate, birth=None, **changes):
        return perform(
            replace(AcceptIdentity(str(self.state), "claim", self.ca, certificate, birth), **changes), NOBODY
        )

    def enrol(self, name="edge-17"):
        """As far as the folder of the identity."""
        made = self.request()
        issued, birth = self.host.authority.device(made.csr, name), self.host.authority.birth(made.birth_csr, name)
        answer = self.accept(issued.pem, birth.pem)
        assert isinstance(answer, IdentityMade), answer
        stored = IdentityStore(self.state).stored(answer.folder)
        IdentityStore(self.state).adopt(stored)
        return stored


@pytest.fixture
def host(tmp_path):
    return FleetHost(tmp_path / "host")


@pytest.fixture
def device(tmp_path, host):
    return Device(tmp_path / "device", host)


def test_a_request_has_keys_that_stay_on_the_device_for_its_owner_only(device):
    made = device.request()
    assert isinstance(made, RequestMade), made
    assert made.principal == CLAIM
    assert read_csr(made.csr).key_sha256 == made.key_sha256
    assert read_csr(made.birth_csr).key_sha256 != made.key_sha256
    folder = IdentityStore(device.state).request("claim")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(("device.key", "birth.key", "request.json"), 0o600)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    assert b"PRIVATE" not in made.csr


def test_a_request_that_is_made_again_has_the_same_keys_and_one_for_another_folder_has_not(device):
    first = device.request()
    assert device.request().key_sha256 == first.key_sha256
    assert device.request(incarnation="0" * 32).key_sha256 != first.key_sha256


def test_a_damaged_key_of_a_request_is_made_anew(device):
    first = device.request()
    (IdentityStore(device.state).request("claim") / "device.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nrotten")
    again = device.request()
    assert isinstance(again, RequestMade)
    assert again.key_sha256 != first.key_sha256


def test_an_identity_holds_what_the_host_gave_and_the_keys_of_the_request(device):
    stored = device.enrol()
    assert (stored.identity.device, stored.identity.incarnation) == ("edge-17", device.incarnation)
    assert stored.has_birth
    assert 89 * DAY_S < stored.identity.not_after - time.time() < 90 * DAY_S
    assert {stat.S_IMODE(path.stat().st_mode) for path in stored.folder.glob("*.key")} == {0o600}
    assert (device.state / "identity").resolve() == stored.folder
    assert not IdentityStore(device.state).request("claim").exists()


def test_a_renewal_has_a_key_of_its_own_and_keeps_the_birth_certificate(device):
    before = device.enrol()
    made = device.request("renewal")
    issued = device.host.authority.device(made.csr, "edge-17")
    answer = device.accept(issued.pem, kind="renewal", before=str(before.folder), device="edge-17")
    after = IdentityStore(device.state).stored(answer.folder)
    assert (after.folder / "birth.pem").read_bytes() == (before.folder / "birth.pem").read_bytes()
    assert (after.folder / "birth.key").read_bytes() == (before.folder / "birth.key").read_bytes()
    assert (after.folder / "device.key").read_bytes() != (before.folder / "device.key").read_bytes()
    assert IdentityStore(device.state).current() == before
    assert IdentityStore(device.state).renewed() == after


def test_who_comes_back_signs_for_its_new_key_and_its_state_folder_with_the_birth_key(device):
    stored = device.enrol()
    files = {"cert_file": str(stored.folder / "birth.pem"), "key_file": str(stored.folder / "birth.key")}
    made = device.request("birth", **files)
    pem = (stored.folder / "birth.pem").read_bytes()
    assert made.principal == "@birth-edge-17"
    assert is_signed(made.proof, return_proof_bytes(made.csr, device.incarnation), pem)
    assert not is_signed(made.proof, return_proof_bytes(made.csr, "f" * 32), pem)
    assert device.request().proof is None


def test_the_same_answer_twice_makes_one_identity(device):
    made = device.request()
    issued = device.host.authority.device(made.csr, "edge-17")
    assert device.accept(issued.pem) == device.accept(issued.pem)


# -- what a host, or somebody in its place, may give -------------------------------------------------------------------


def foreign(device, made, tmp_path):
    return FleetHost(tmp_path / "foreign").authority.device(made.csr, "edge-17").pem


def of_another_key(device, _made, tmp_path):
    return Device(tmp_path / "other", device.host).request().csr


WRONG = {
    "of another authority": (
        foreign,
        {},
        "foreign_certificate",
        "another authority signed it",
    ),
    "of another key": (
        lambda d, _m, t: d.host.authority.device(of_another_key(d, None, t), "edge-17").pem,
        {},
        "wrong_key",
        "another key",
    ),
    "of another device": (
        lambda d, m, _t: d.host.authority.device(m.csr, "edge-18").pem,
        {"device": "edge-17"},
        "wrong_name",
        "is of edge-18, and this device is edge-17",
    ),
    "a birth certificate": (
        lambda d, m, _t: d.host.authority.birth(m.csr, "edge-17").pem,
        {},
        "foreign_certificate",
        "another authority signed it",
    ),
    "the host's own": (lambda d, _m, _t: d.host.authority.principal("@canary").pem, {}, "wrong_key", "another key"),
    "expired": (
        lambda d, m, _t: d.host.authority.device(m.csr, "edge-17").pem,
        {"now": time.time() + 400 * DAY_S},
        "certificate_expired",
        "by this device's clock",
    ),
    "of the future": (
        lambda d, m, _t: d.host.authority.device(m.csr, "edge-17").pem,
        {"now": time.time() - 400 * DAY_S},
        "certificate_not_yet_valid",
        "by this device's clock",
    ),
    "of a server": (lambda d, _m, _t: d.host.authority.server(["a.b"]).pem, {}, "unfit_certificate", "client"),
    "an authority's": (lambda d, _m, _t: d.host.authority.root_pem, {}, "unfit_certificate", "client"),
    "no certificate": (lambda _d, _m, _t: b"nothing", {}, "unusable_certificate", "no certificate in PEM"),
    "not PEM's end": (
        lambda d, m, _t: d.host.authority.device(m.csr, "edge-17").pem[:300],
        {},
        "unusable_certificate",
        "no certificate in PEM",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_certificate_that_is_not_for_this_device_is_refused_in_one_line_and_changes_nothing(device, tmp_path, what):
    before = device.enrol()
    give, changes, code, words = WRONG[what]
    made = device.request()
    answer = device.accept(give(device, made, tmp_path), **changes)
    assert isinstance(answer, Refusal), answer
    assert (answer.reason, words in answer.detail, "\n" in answer.detail) == (code, True, False), answer
    assert IdentityStore(device.state).current() == before
    assert IdentityStore(device.state).renewed() is None


def test_dates_are_not_judged_by_a_clock_that_nobody_knows(device):
    made = device.request()
    issued = device.host.authority.device(made.csr, "edge-17")
    assert isinstance(device.accept(issued.pem, now=None), IdentityMade)


@pytest.mark.parametrize("name", ["edge-18", None])
def test_a_birth_certificate_of_another_or_of_another_key_is_refused(device, tmp_path, name):
    made = device.request()
    issued = device.host.authority.device(made.csr, "edge-17")
    csr = made.birth_csr if name else Device(tmp_path / "other", device.host).request().birth_csr
    answer = device.accept(issued.pem, device.host.authority.birth(csr, name or "edge-17").pem)
    assert isinstance(answer, Refusal)
    assert "birth certificate" in answer.detail
    assert IdentityStore(device.state).renewed() is None


# -- what lies on the device -------------------------------------------------------------------------------------------


def foreign_claim(device, tmp_path):
    FleetHost(tmp_path / "foreign").provision(tmp_path / "image")
    (device.folder / "claim.pem").write_bytes((tmp_path / "image" / "claim.pem").read_bytes())


def key_of_another_claim(device, tmp_path):
    device.host.provision(tmp_path / "image")
    (device.folder / "claim.key").write_bytes((tmp_path / "image" / "claim.key").read_bytes())


def folder_for_a_key(device, _tmp_path):
    (device.folder / "claim.key").unlink()
    (device.folder / "claim.key").mkdir()


BAD_FILES = {
    "claim of another fleet": (foreign_claim, "foreign_certificate"),
    "key of another claim": (key_of_another_claim, "wrong_key"),
    "no claim": (lambda d, _t: (d.folder / "claim.pem").unlink(), "unreadable_file"),
    "no key": (lambda d, _t: (d.folder / "claim.key").unlink(), "unreadable_file"),
    "a folder": (
        lambda d, _t: ((d.folder / "claim.key").unlink(), (d.folder / "claim.key").mkdir()),
        "unreadable_file",
    ),
    "key is rubbish": (lambda d, _t: (d.folder / "claim.key").write_text("rubbish"), "unusable_key"),
    "claim is rubbish": (lambda d, _t: (d.folder / "claim.pem").write_bytes(b"\xff\0"), "unusable_certificate"),
    "authority is rubbish": (lambda d, _t: (d.folder / "fleet-ca.pem").write_text("no"), "unusable_certificate"),
    "no authority": (lambda d, _t: (d.folder / "fleet-ca.pem").unlink(), "unreadable_file"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_files_of_a_claim_that_cannot_be_used_are_named_in_one_line(device, tmp_path, what):
    spoil, code = BAD_FILES[what]
    spoil(device, tmp_path)
    answer = device.request()
    assert isinstance(answer, Refusal), answer
    assert (answer.reason, str(device.folder) in answer.detail, "\n" in answer.detail) == (code, True, False), answer
    assert "PRIVATE" not in answer.detail
    assert not IdentityStore(device.state).request("claim").exists()


def test_a_claim_that_is_no_claim_asks_for_nothing(device):
    issued = device.host.authority.principal("@canary")
    (device.folder / "claim.pem").write_bytes(issued.pem)
    (device.folder / "claim.key").write_bytes(issued.key_pem)
    assert device.request().reason == "unfit_certificate"


def test_the_request_is_one_that_the_wire_takes(device):
    made = device.request()
    EnrolmentRequest(made.csr, "0" * 32, device.incarnation, made.birth_csr)
    assert len(made.csr) < 600


def test_no_mutant_of_an_answer_becomes_an_identity_or_an_error_of_the_updater(device):
    """Bytes of the certificates flipped, cut and doubled, in PEM and below it."""
    made, rng = device.request(), random.Random(7)
    issued = device.host.authority.device(made.csr, "edge-17").pem
    for number in range(300):
        leaf, *rest = x509.load_pem_x509_certificates(issued)
        der = bytearray(leaf.public_bytes(Encoding.DER))
        at = rng.randrange(len(der))
        der[at:at] = der[at : at + rng.randrange(3)]
        der[at] ^= 1 << rng.randrange(8)
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
        mutant = pem + rest[0].public_bytes(Encoding.PEM) if number % 2 else _flipped(issued, rng)
        answer = device.accept(mutant)
        if isinstance(answer, IdentityMade):  # a bit that says nothing, such as one between two lines
            assert x509.load_pem_x509_certificates(mutant)[0] == leaf
        else:
            assert answer.reason in CODES, (number, answer)


CODES = {"unusable_certificate", "foreign_certificate", "unfit_certificate"}


def _flipped(pem, rng):
    at = rng.randrange(len(pem))
    return pem[:at] + bytes([pem[at] ^ (1 << rng.randrange(8))]) + pem[at + 1 :]
