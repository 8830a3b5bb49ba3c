"""The fleet's authority: what it signs, for whom, and what it says when its folder is not as it was."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry_agent.wire.errors import WireError
from skerry_host.identity.authority import Authority
from skerry_host.identity.errors import IdentityError
from skerry_host.identity.files import parse_lists
from tests.kit.csr import csr_of, device_key

NOW = 1_800_000_000.0
DAY_S = 86_400


@pytest.fixture
def authority(tmp_path):
    return Authority.open(tmp_path / "identity", NOW)


def leaf_of(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def common_name(certificate: x509.Certificate) -> str:
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def usages(certificate: x509.Certificate):
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_device_certificate_has_the_profile(authority):
    key = device_key()
    issued = authority.device(csr_of(key), "edge-17")
    leaf = leaf_of(issued.pem)
    assert common_name(leaf) == "edge-17"
    assert uris(leaf) == [f"urn:skerry:{authority.fleet}:device:edge-17"]
    assert usages(leaf) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert issued.not_after == NOW + 90 * DAY_S
    assert issued.serial == f"{leaf.serial_number:032x}"
    assert len(issued.serial) == 32
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert issued.key_sha256 == hashlib.sha256(spki).hexdigest()


def test_two_certificates_never_share_a_serial(authority):
    csr = csr_of(device_key())
    assert len({authority.device(csr, "edge-17").serial for _ in range(20)}) == 20


def test_a_birth_certificate_lives_ten_years_under_a_name_that_is_no_device(authority):
    issued = authority.birth(csr_of(device_key()), "edge-17")
    assert common_name(leaf_of(issued.pem)) == "@birth-edge-17"
    assert issued.not_after == NOW + 3650 * DAY_S


def test_a_claim_lives_as_many_days_as_it_was_given(authority):
    claim = authority.claim("@claim-7", 7)
    leaf = leaf_of(claim.pem)
    assert common_name(leaf) == "@claim-7"
    assert uris(leaf) == [f"urn:skerry:{authority.fleet}:claim:7"]
    assert claim.not_after == NOW + 7 * DAY_S


@pytest.mark.parametrize("name", ["@plane", "@birth-edge-17", "edge-17", "@claim-", "@claim-1/x"])
def test_no_other_name_gets_a_claim(authority, name):
    with pytest.raises((WireError, IdentityError)):
        authority.claim(name, 7)


@pytest.mark.parametrize("name", ["@plane", "@claim-7", "@birth-edge-17", "../x", "", "a/b", "+", "a\0b", "EDGE"])
def test_no_device_is_certified_under_a_name_that_is_no_device(authority, name):
    """Case I3 of the threat table, where even the record is wrong."""
    with pytest.raises(WireError):
        authority.device(csr_of(device_key()), name)
    with pytest.raises(WireError):
        authority.birth(csr_of(device_key()), name)


@pytest.mark.parametrize("name", ["edge-17", "@claim-7", "@birth-edge-17", "@", "@a/b", "@plane\n", ""])
def test_only_the_hosts_own_names_are_principals(authority, name):
    with pytest.raises(IdentityError):
        authority.principal(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "*.local", "host:8883", "ä.local", "x" * 254])
def test_a_server_is_certified_for_host_names_and_addresses_only(authority, name):
    with pytest.raises(IdentityError, match=r"host name|needs"):
        authority.server([name])


def test_what_was_founded_is_the_same_when_it_is_opened_again(tmp_path):
    first = Authority.open(tmp_path / "identity", NOW)
    again = Authority.open(tmp_path / "identity", NOW + 5)
    assert (again.fleet, again.root_pem, again.chain_pem) == (first.fleet, first.root_pem, first.chain_pem)


def test_keys_and_folders_are_for_their_owner_only(authority, tmp_path):
    for path in (tmp_path / "identity").rglob("*"):
        if path.is_dir() or path.suffix == ".key":
            assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "identity").stat().st_mode & 0o077 == 0


def test_openssl_verifies_the_chain_from_the_root_alone_and_sees_a_revocation(authority, tmp_path):
    """Foreign judge: the chain with only the root trusted, and both lists, as a broker with a list checks it."""
    good, revoked = authority.principal("@plane"), authority.principal("@canary")
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    (tmp_path / "lists.pem").write_bytes(authority.revocation_list([(revoked.serial, NOW)]))
    verdicts = [_openssl_verify(tmp_path, pair.pem) for pair in (good, revoked)]
    assert verdicts[0] == "OK"
    assert "certificate revoked" in verdicts[1]


@pytest.mark.parametrize("serial", ["", "0", "xyz", "-1", "AB" * 16, "f" * 33, "ab\n", "\u0661"])
@pytest.mark.parametrize("when", [NOW, -1e18, 1e18, float("inf"), float("nan")])
def test_a_damaged_row_of_the_registry_keeps_no_other_from_being_listed(authority, serial, when):
    """Case T2 of the threat table: whatever a row holds."""
    lists = authority.revocation_list([(serial, when), ("ab" * 16, when)])
    assert [row for row, _ in parse_lists(lists, "")] == ["ab" * 16]


def _openssl_verify(folder: Path, pem: bytes) -> str:
    leaf, chain = folder / "leaf.pem", folder / "chain.pem"
    leaf.write_bytes(pem)
    chain.write_bytes(pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-attime", str(int(NOW))]
    lists = ["-crl_check_all", "-CRLfile", folder / "lists.pem"]
    command += [*lists, "-CAfile", folder / "root.pem", "-untrusted", chain, leaf]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return "OK" if ended.returncode == 0 else ended.stdout + ended.stderr
