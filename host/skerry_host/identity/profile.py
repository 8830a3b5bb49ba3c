"""What each certificate and revocation list of a fleet says. Pure: keys, names and the time are arguments.

Every key is ECDSA P-256. The subject's common name is the principal, which brokers take as the user name. It signs
nothing but the certificates and lists of this module.
"""

import datetime as dt
import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as _generate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from skerry_host.identity.errors import IdentityError

DAY_S = 86_400.0
ROOT_DAYS = 30 * 365
ISSUING_DAYS = 20 * 365
BIRTH_DAYS = 10 * 365
HOST_DAYS = 10 * 365
"""Of the host's own: their keys lie beside the key that signs them, and a plane may run for years without a start."""

DEVICE_DAYS = 90
LIST_DAYS = 10 * 365
"""A revocation list past this locks every device out, so it is far; what counts is that brokers reload it."""

BACKDATED_S = DAY_S
"""A device's clock may be behind the host's by this much."""

CA_FROM = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
"""CAs are valid from before any of them was made: a host whose clock was ahead for an hour founds no fleet of 2038."""


class Signed(NamedTuple):
    """A certificate authority that can sign."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for: the common name, the subject's alternative names, what it may be used for."""

    common_name: str
    names: tuple[x509.GeneralName, ...]
    usage: ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH


def new_key() -> EllipticCurvePrivateKey:
    """A new private key of the fleet's one kind."""
    return _generate(SECP256R1())


def client(fleet: str, common_name: str, kind: str, name: str = "") -> Subject:
    """Somebody who connects to a broker: `urn:skerry:FLEET:device:edge-17`."""
    urn = ":".join(part for part in ("urn:skerry", fleet, kind, name) if part)
    return Subject(common_name, (x509.UniformResourceIdentifier(urn),))


def server(names: Sequence[str]) -> Subject:
    """A broker under the host names and addresses that clients write into their URLs. Raises `IdentityError`."""
    if not names:
        raise IdentityError("a server's certificate needs a host name or an address")
    return Subject("Skerry broker", tuple(map(_server_name, names)), ExtendedKeyUsageOID.SERVER_AUTH)


def root_certificate(key: EllipticCurvePrivateKey, fleet: str, now: float) -> x509.Certificate:
    """The certificate that devices pin. Its organisation is the fleet's id."""
    name = _name("Skerry fleet root", fleet)
    return _authority(key.public_key(), name, _moment(now + ROOT_DAYS * DAY_S), 1).issuer_name(name).sign(key, _HASH)


def issuing_certificate(key: EllipticCurvePublicKey, root: Signed, number: int, now: float) -> x509.Certificate:
    """The certificate of the online CA that signs everything else, under the root."""
    name = _name(f"Skerry fleet issuing {number}", fleet_of(root.certificate))
    until = min(_moment(now + ISSUING_DAYS * DAY_S), root.certificate.not_valid_after_utc)
    return _issued_by(_authority(key, name, until, 0), root)


def enrolment_certificate(key: EllipticCurvePrivateKey, fleet: str, now: float) -> x509.Certificate:
    """The certificate of the CA that signs claims and birth certificates. It is its own root.

    Were it under the fleet's root, a broker that trusts this root would take its certificates at every listener.
    """
    name = _name("Skerry fleet enrolment", fleet)
    return _authority(key.public_key(), name, _moment(now + ROOT_DAYS * DAY_S), 0).issuer_name(name).sign(key, _HASH)


def leaf(key: EllipticCurvePublicKey, subject: Subject, issuing: Signed, days: float, now: float) -> x509.Certificate:
    """A certificate of somebody; it never outlives the CA that has signed it."""
    until = min(_moment(now + days * DAY_S), issuing.certificate.not_valid_after_utc)
    builder = (
        _builder(key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)]), until)
        .not_valid_before(_moment(now - BACKDATED_S))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([subject.usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(subject.names), critical=False)
    )
    return _issued_by(builder, issuing)


def revocation_list(issuer: Signed, revoked: Iterable[tuple[int, float]], now: float) -> x509.CertificateRevocationList:
    """The serial numbers (with when) that `issuer` has taken back."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_moment(now - BACKDATED_S))
        .next_update(_moment(now + LIST_DAYS * DAY_S))
        .add_extension(x509.CRLNumber(int(now * 1000)), critical=False)
        .add_extension(_issuer_key(issuer), critical=False)
    )
    for serial, when in sorted(set(revoked)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(when)).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, _HASH)


def fleet_of(certificate: x509.Certificate) -> str:
    """The fleet's id in a root or issuing certificate; raises `IdentityError` where there is none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(found) == 1:
        return str(found[0].value)
    raise IdentityError("the certificate is not of a Skerry fleet: it names no organisation")


def server_names(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    """The host names and addresses that a server's certificate is for; empty for one that has none."""
    try:
        return frozenset(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return frozenset()


_HASH = hashes.SHA256()


def _name(common_name: str, fleet: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, fleet), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _builder(key: EllipticCurvePublicKey, name: x509.Name, until: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(secrets.randbits(127) + 1)  # 128 bits with a sign; never 0
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(key: EllipticCurvePublicKey, name: x509.Name, until: dt.datetime, below: int) -> x509.CertificateBuilder:
    return (
        _builder(key, name, until)
        .not_valid_before(CA_FROM)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )


def _issued_by(builder: x509.CertificateBuilder, issuer: Signed) -> x509.Certificate:
    builder = builder.issuer_name(issuer.certificate.subject).add_extension(_issuer_key(issuer), critical=False)
    return builder.sign(issuer.key, _HASH)


def _issuer_key(issuer: Signed) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    if not name or len(name) > 253 or not name.isascii() or any(c.isspace() or c in "/@:*" for c in name):
        raise IdentityError(f"{name!r} is neither a host name nor an address", hint="write it as devices will reach it")
    return x509.DNSName(name.rstrip("."))


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)
