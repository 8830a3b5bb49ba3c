"""Reads certificates and keys that a device was given, and says in one line what is wrong with them.

A chain is checked by hand, one signature after the other, because dates cannot be judged on a board whose clock is
wrong; all else is `cryptography`'s. Whom a host may name is not decided here: its issuing key
can name any device.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry_agent.ports.jobs import Refusal
from skerry_agent.state.disk import read_regular
from skerry_agent.updater.errors import RefusedError

MAX_FILE_BYTES = 64 * 1024
SLACK_S = 24 * 3600.0
"""Clocks that are right differ by less than that."""


UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for a certificate that is damaged, or of a kind that it does not know."""


def refused(reason: str, detail: str) -> RefusedError:
    """Ends a job: what somebody gave this device cannot be used."""
    return RefusedError(Refusal("rejected", reason, detail))


def read_chain(pem: bytes, where: str) -> list[x509.Certificate]:
    """The certificates in PEM, in their order. Raises `RefusedError`."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise refused("unusable_certificate", f"{where} holds no certificate in PEM") from None


def read_file(path: str) -> bytes:
    """A file of somebody else's. Raises `RefusedError`."""
    try:
        return read_regular(Path(path), MAX_FILE_BYTES)
    except OSError as error:
        raise refused("unreadable_file", f"{path} cannot be read: {error.strerror}") from None


def read_key(path: str) -> ec.EllipticCurvePrivateKey:
    """A private key without a passphrase, on P-256. Raises `RefusedError`, whose text has nothing of the key."""
    try:
        key = load_pem_private_key(read_file(path), None)
    except TypeError:
        raise refused("unusable_key", f"{path} is encrypted with a passphrase, which nobody is here to give") from None
    except ValueError:
        raise refused("unusable_key", f"{path} holds no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise refused("unusable_key", f"{path} is not a key on the curve P-256")
    return key


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Its SubjectPublicKeyInfo in DER: what names a key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_sha256(key: ec.EllipticCurvePublicKey) -> str:
    """The sha256 of a public key, in hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki(key))
    return digest.finalize().hex()


def common_name(certificate: x509.Certificate) -> str:
    """The one CN of its subject, empty where there is not just one."""
    return _only(certificate, NameOID.COMMON_NAME)


def _fleet(authority: x509.Certificate) -> str:
    """The fleet's id, which its authorities have as their organisation."""
    return _only(authority, NameOID.ORGANIZATION_NAME)


def _only(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> str:
    try:
        names = certificate.subject.get_attributes_for_oid(kind)
    except UNREADABLE:
        return ""
    value = names[0].value if len(names) == 1 else ""
    return value if isinstance(value, str) else ""


def check_leaf(chain: Sequence[x509.Certificate], ca_file: str, what: str) -> x509.Certificate:
    """The leaf, if its chain ends at an authority in `ca_file` and it is for a client. Raises `RefusedError`."""
    leaf, others = chain[0], list(chain[1:])
    roots = read_chain(read_file(ca_file), ca_file)
    if not _leads_to(leaf, others, roots):
        raise refused("foreign_certificate", f"{what} is not of the fleet of {ca_file}: another authority signed it")
    if _is_authority(leaf) or not _is_for_client(leaf):
        raise refused("unfit_certificate", f"{what} is not a client's certificate")
    return leaf


def check_enrolment_leaf(chain: Sequence[x509.Certificate], ca_file: str, what: str) -> x509.Certificate:
    """The leaf of a claim or a birth certificate, if it is of the fleet of `ca_file`. Raises `RefusedError`.

    Their authority is under no root, so that only the enrolment listener takes them; it names the fleet. That they are
    good the broker decides: here it is said what a person has mixed up.
    """
    leaf, fleets = chain[0], {_fleet(root) for root in read_chain(read_file(ca_file), ca_file)}
    if not any(_signed(leaf, above) and _fleet(above) in fleets - {""} for above in chain[1:]):
        raise refused("foreign_certificate", f"{what} is not of the fleet of {ca_file}: another authority signed it")
    if _is_authority(leaf) or not _is_for_client(leaf):
        raise refused("unfit_certificate", f"{what} is not a client's certificate")
    return leaf


def check_key(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, what: str) -> None:
    """Raises `RefusedError` where the certificate is of another key."""
    try:
        public = certificate.public_key()
    except UNREADABLE:
        raise refused("unusable_certificate", f"{what} has a key that cannot be read") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or spki(public) != spki(key.public_key()):
        raise refused("wrong_key", f"{what} is of another key than this device has")


def check_dates(certificate: x509.Certificate, now: float | None, what: str) -> None:
    """Raises `RefusedError` where it is surely not valid now; nothing is sure without a clock."""
    if now is None:
        return
    begins, ends = window(certificate)
    day = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%d")
    if now > ends + SLACK_S:
        raise refused("certificate_expired", f"{what} has expired: it is {day}, by this device's clock")
    if now < begins - SLACK_S:
        raise refused("certificate_not_yet_valid", f"{what} is not yet valid: it is {day}, by this device's clock")


def window(certificate: x509.Certificate) -> tuple[float, float]:
    """(from, to), in seconds since 1970."""
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def _leads_to(leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    """Whether each certificate is signed by the next, which is an authority's, up to one of the roots."""
    now = leaf
    for _ in range(len(others) + 1):
        if any(_signed(now, root) for root in roots):
            return True
        above = next((each for each in others if _signed(now, each)), None)
        if above is None:
            return False
        now = above
    return False


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if not _is_authority(authority):
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False


def _is_for_client(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage
