"""The files of plane and broker: kept while they are good, else made anew; and what is revoked stays revoked."""

import ssl

import pytest

from skerry_host.identity import custody, key_files
from skerry_host.identity.authority import Authority
from skerry_host.identity.errors import IdentityError
from skerry_host.identity.files import parse_lists, plane_identity

NOW = 1_800_000_000.0
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path):
    plane_identity(tmp_path / "identity", ["b.local"], NOW)
    return tmp_path / "identity"


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "plane").glob("*.pem") if "crl" not in path.name}


def changed(folder, names=("b.local",), now=NOW):
    before = content(folder)
    plane_identity(folder, list(names), now)
    return {name for name, data in content(folder).items() if data != before[name]}


PRINCIPALS = {"plane.pem", "server.pem", "canary.pem", "old.pem"}


def test_what_is_good_is_kept(folder):
    assert changed(folder) == set()
    assert changed(folder, now=NOW + 2400 * DAY_S) == set()


def test_what_has_lived_two_thirds_of_its_life_is_renewed(folder):
    assert changed(folder, now=NOW + 2450 * DAY_S) == PRINCIPALS


def test_what_was_made_while_the_clock_was_ahead_is_made_anew_once_it_is_right(tmp_path):
    plane_identity(tmp_path / "identity", ["b.local"], 2_150_000_000.0)
    assert changed(tmp_path / "identity") == PRINCIPALS


def test_a_server_that_gets_another_name_gets_another_certificate(folder):
    assert changed(folder, ["b.local", "192.168.1.7"]) == {"server.pem"}
    assert changed(folder, ["192.168.1.7", "b.local"]) == set()


@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_damaged_is_made_anew(folder, damage):
    (folder / "plane" / "plane.pem").write_bytes(damage)
    assert changed(folder) == {"plane.pem"}


def test_a_key_that_others_could_read_is_not_used_again(folder):
    (folder / "plane" / "plane.pem").chmod(0o644)
    assert changed(folder) == {"plane.pem"}
    assert (folder / "plane" / "plane.pem").stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_is_not_of_the_key_beside_it_is_made_anew(folder):
    plane, canary = folder / "plane" / "plane.pem", folder / "plane" / "canary.pem"
    head, _, key = canary.read_bytes().partition(b"-----BEGIN PRIVATE KEY-----")
    plane.write_bytes(
        plane.read_bytes().partition(b"-----BEGIN PRIVATE KEY-----")[0] + b"-----BEGIN PRIVATE KEY-----" + key
    )
    assert head
    assert changed(folder) == {"plane.pem"}


def test_the_same_file_is_certificate_and_key_for_tls(folder):
    files = plane_identity(folder, ["b.local"], NOW)
    assert files.plane_cert == files.plane_key
    ssl.create_default_context(cafile=str(files.ca)).load_cert_chain(files.plane_cert, files.plane_key)


def listed(folder):
    return parse_lists((folder / "plane" / "revoked.crl.pem").read_bytes(), "")


def test_a_plane_that_knows_no_serials_yet_takes_none_back(folder):
    """It starts before it has asked the registry: what was refused is refused."""
    plane_identity(folder, ["b.local"], NOW, [("ab" * 16, NOW)])
    plane_identity(folder, ["b.local"], NOW + 1)
    assert listed(folder) == [("ab" * 16, NOW)]
    plane_identity(folder, ["b.local"], NOW + 2, [])
    assert listed(folder) == []


def test_a_list_that_is_damaged_is_said_and_not_taken_for_an_empty_one(folder):
    (folder / "plane" / "revoked.crl.pem").write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pytest.raises(IdentityError, match=r"revoked.crl.pem is damaged; remove it"):
        plane_identity(folder, ["b.local"], NOW)
    plane_identity(folder, ["b.local"], NOW, [])


def test_the_next_issuing_ca_is_known_to_the_broker_before_it_signs(folder):
    """Else whoever got a certificate of it would be refused until the broker has read its files again."""
    custody.renew_issuing(folder, folder / "root", None, NOW)
    waiting = Authority.open(folder, NOW)
    assert len(waiting.issuing) == 1
    assert waiting.principal("@plane").pem.endswith(key_files.certificate_pem(waiting.issuing[0].certificate))
    files = plane_identity(folder, ["b.local"], NOW)
    assert files.chain.read_bytes() == waiting.chain_pem
    assert len(Authority.open(folder, NOW).issuing) == 2


def test_what_the_ca_before_has_signed_stays_valid_and_can_still_be_revoked(folder):
    before = Authority.open(folder, NOW).principal("@canary")
    custody.renew_issuing(folder, folder / "root", None, NOW)
    plane_identity(folder, ["b.local"], NOW)
    after = Authority.open(folder, NOW)
    issuer = key_files.parse_certificates(before.pem, "")[1]
    assert key_files.certificate_pem(issuer) in after.chain_pem
    lists = after.revocation_list([(before.serial, NOW)])
    assert lists.count(b"BEGIN X509 CRL") == 4  # of the root, of both issuing CAs, of the enrolment CA


def test_an_issuing_ca_that_has_expired_signs_nothing_and_says_what_to_do(folder):
    with pytest.raises(IdentityError, match="renew-issuing") as refused:
        Authority.open(folder, NOW + 20 * 366 * DAY_S)
    assert refused.value.code == "issuing_expired"


@pytest.mark.parametrize("clock", [0.0, 86_400.0, 1.5e9, 5e9])
def test_a_clock_that_was_never_set_founds_no_fleet(tmp_path, clock):
    """What is made in 1970 has expired when the clock is set."""
    with pytest.raises(IdentityError, match="clock says") as refused:
        Authority.open(tmp_path / "identity", clock)
    assert refused.value.code == "clock"
    assert list(tmp_path.iterdir()) == []


DAMAGES = {
    "root.pem": "root.pem",
    "root.crl.pem": "root.crl.pem",
    "issuing/1.key": "1.key",
    "issuing/1.pem": "issuing holds no CA",
    "enrolment/1.key": "1.key",
    "enrolment/1.pem": "1.pem",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_authority_that_lacks_a_file_is_no_new_one(folder, name):
    """A fleet founded anew by mistake would lock every device out."""
    (folder / name).unlink()
    with pytest.raises(IdentityError, match=DAMAGES[name]):
        Authority.open(folder, NOW)


@pytest.mark.parametrize("name", ["issuing/1.key", "enrolment/1.key"])
def test_a_key_that_others_can_read_is_refused_and_named(folder, name):
    (folder / name).chmod(0o644)
    with pytest.raises(IdentityError, match=r"can be read by others; find out who did, then `chmod 600") as refused:
        Authority.open(folder, NOW)
    assert refused.value.code == "key_mode"


def test_a_key_and_a_certificate_that_do_not_match_are_refused_and_named(folder, tmp_path):
    Authority.open(tmp_path / "other", NOW)
    (folder / "issuing" / "1.key").write_bytes((tmp_path / "other" / "issuing" / "1.key").read_bytes())
    with pytest.raises(IdentityError, match="is not the certificate of the key beside it"):
        Authority.open(folder, NOW)


def test_an_issuing_ca_of_another_fleet_is_refused(folder, tmp_path):
    Authority.open(tmp_path / "other", NOW)
    for ending in ("key", "pem"):
        name = f"1.{ending}"
        (folder / "issuing" / name).write_bytes((tmp_path / "other" / "issuing" / name).read_bytes())
    with pytest.raises(IdentityError, match="is not signed by root"):
        Authority.open(folder, NOW)
