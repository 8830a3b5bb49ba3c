"""Certificates made for a test, good and bad. They share no code with Skerry's own authority. No tests here."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Made:
    """A certificate, its key, and the files that they are in."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: Path
    key_file: Path


def make_certificate(folder, name, *, days=(-1, 30), signer=None, san="127.0.0.1", **more) -> Made:
    """A key (mode 0600) and a certificate in PEM files `name.key` and `name.pem`.

    `more`: whether it is an `authority`, and its `usage`.
    """
    usage = more.get("usage")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (signer.certificate.subject, signer.key) if signer else (subject, key)
    where = x509.IPAddress(ipaddress.ip_address(san)) if san[0].isdigit() else x509.DNSName(san)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=days[0]))
        .not_valid_after(NOW + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=more.get("authority", False), path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([where]), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    made = builder.sign(issuer_key, hashes.SHA256())
    pem, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    write_key(key_file, key, serialization.NoEncryption())
    return Made(made, key, pem, key_file)


def write_key(path, key, encryption) -> None:
    """A key as PKCS#8, with a passphrase or without."""
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    path.chmod(0o600)


def make_crl(path, signer, *revoked) -> Path:
    """A list of what `signer` has revoked."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(signer.certificate.subject)
    builder = builder.last_update(NOW - dt.timedelta(days=1)).next_update(NOW + dt.timedelta(days=30))
    for made in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(made.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - dt.timedelta(days=1)).build())
    path.write_bytes(builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path
