"""CSRs of people who mean harm: each is refused in one line, or certified under the record's name and nothing else."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry_host.identity.authority import Authority
from skerry_host.identity.csr import MAX_CSR_BYTES, read_csr
from skerry_host.identity.errors import CsrError
from tests.kit.csr import csr_of, device_key

KEY = device_key()
GOOD = csr_of(KEY, "edge-17")
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
GREEDY = (
    x509.BasicConstraints(ca=True, path_length=None),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.UniformResourceIdentifier("urn:skerry:x:plane")]),
)


def with_another_key(der: bytes) -> bytes:
    """The same request and signature, but with somebody else's key in it."""
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    other = device_key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert der.count(point) == 1
    return der.replace(point, other)


def with_a_point_that_is_on_no_curve(der: bytes) -> bytes:
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return der.replace(point, b"\x04" + b"\x01" * 64)


HOSTILE = {
    "nothing": b"",
    "a megabyte": GOOD + bytes(1 << 20),
    "one byte over the limit": GOOD + bytes(MAX_CSR_BYTES + 1 - len(GOOD)),
    "trailing bytes": GOOD + b"\x00",
    "two of them": GOOD + GOOD,
    "cut": GOOD[:-1],
    "indefinite length": b"\x30\x80" + GOOD[2:] + b"\x00\x00",
    "a length of 4 GB": b"\x30\x84\xff\xff\xff\xff" + GOOD[2:],
    "nested a thousand deep": b"\x30\x82\x0f\xfc" + b"\x30\x80" * 1000,
    "not DER": b"-----BEGIN CERTIFICATE REQUEST-----",
    "RSA": csr_of(RSA),
    "P-384": csr_of(device_key(ec.SECP384R1())),
    "secp256k1": csr_of(device_key(ec.SECP256K1())),
    "ed25519": csr_of(ed25519.Ed25519PrivateKey.generate()),
    "somebody else's key": with_another_key(GOOD),
    "a point on no curve": with_a_point_that_is_on_no_curve(GOOD),
    "signature cut": GOOD[:-4] + bytes(4),
    "weak hash": csr_of(KEY, hash_kind=hashes.SHA224()),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_csr_is_refused_in_one_line(what):
    with pytest.raises(CsrError) as refused:
        read_csr(HOSTILE[what])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "name", ["@plane", "../x", "edge-18", "@claim-7", "@birth-edge-18", "+", "#", "a\0b", "\x1b[2J", "x" * 64]
)
def test_a_certificate_bears_the_records_name_whatever_the_csr_calls_itself(tmp_path, name):
    """Case I3 of the threat table."""
    authority = Authority.open(tmp_path / "identity", 1_800_000_000.0)
    issued = authority.device(csr_of(KEY, name), "edge-17")
    leaf = x509.load_pem_x509_certificates(issued.pem)[0]
    assert [part.value for part in leaf.subject] == ["edge-17"]
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)


def test_what_a_csr_asks_for_beside_its_key_is_not_given(tmp_path):
    """Neither a CA, nor a server, nor another name."""
    authority = Authority.open(tmp_path / "identity", 1_800_000_000.0)
    plain = authority.device(csr_of(KEY), "edge-17")
    greedy = authority.device(csr_of(KEY, "@plane", GREEDY), "edge-17")
    made = [x509.load_pem_x509_certificates(issued.pem)[0] for issued in (plain, greedy)]
    assert list(made[0].extensions) == list(made[1].extensions)


def test_a_key_is_known_by_the_hash_that_the_board_computes_itself():
    """Of its SubjectPublicKeyInfo, with the point uncompressed: by it topics, codes and records name the key."""
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert {read_csr(csr_of(KEY, name)).key_sha256 for name in ("", "other")} == {hashlib.sha256(spki).hexdigest()}


def test_what_it_calls_itself_is_made_harmless_before_it_is_logged():
    assert "\x1b" not in read_csr(csr_of(KEY, "\x1b[2J")).subject
