"""The fleet's certificate authority: a root that may lie elsewhere, and the CAs that sign every certificate.

    identity/                 0700
      root.pem  root.crl.pem  what devices pin; the root's own list, made whenever the root is used
      root/root.key           only needed for the next issuing CA: `skerry keys take-root` moves it away
      issuing/1.pem  1.key    signs devices and the host's own; older numbers still sign lists of what they issued,
      issuing/2.pem.next      and a next one is made known to brokers before it signs anything
      enrolment/1.pem  1.key  signs who may only ask for enrolment; under no root, so that no other listener takes it

An `Authority` stands for one moment: open it anew for each request, which takes about a millisecond. Whom it signs
for is decided elsewhere: it takes the id that it is given, and from a CSR nothing but the key.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from skerry_agent.wire.enrolment import birth_name, device_of_birth
from skerry_agent.wire.names import CLAIM_PREFIX, check_device_id, check_principal
from skerry_host.identity import key_files, profile
from skerry_host.identity.csr import read_csr
from skerry_host.identity.errors import IdentityError, disk_errors
from skerry_host.identity.founding import found
from skerry_host.identity.profile import Signed, Subject

_SERIAL = re.compile(r"^(?=.*[1-9a-f])[0-9a-f]{1,32}\Z")
_BACKUP = "put both back from a backup"
STAND_IN_DAYS = 1.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for a key that stays with its owner. `pem`: the certificate, then the issuing CA's."""

    pem: bytes
    serial: str
    not_after: float
    key_sha256: str


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its key, both made here. `pem` as in `Issued`; `key_pem` is a secret."""

    pem: bytes
    key_pem: bytes
    serial: str
    not_after: float


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs; see the module."""

    root: x509.Certificate
    root_list: bytes
    issuing: tuple[Signed, ...]
    waiting: tuple[Signed, ...]
    enrolment: Signed
    now: float

    @staticmethod
    def open(folder: Path, now: float) -> "Authority":
        """The authority in `folder`, founded there if the folder is absent or empty. Raises `IdentityError`."""
        with disk_errors(f"cannot make or read {folder}"):
            if not folder.is_dir() or not any(folder.iterdir()):
                found(folder, now)
        root = key_files.load_certificates(folder / "root.pem")[0]
        issuing = tuple(_load(path, root) for path in issuing_files(folder))
        if not issuing:
            raise IdentityError(f"{folder / 'issuing'} holds no CA", hint=_BACKUP)
        _check_alive(issuing[-1], now)
        waiting = tuple(_load(path, root) for path in issuing_files(folder, waiting=True))
        enrolment = _load(folder / "enrolment" / "1.pem")
        return Authority(root, key_files.read(folder / "root.crl.pem"), issuing, waiting, enrolment, now)

    @property
    def fleet(self) -> str:
        """The fleet's id: 16 hex digits, in every certificate's URN."""
        return profile.fleet_of(self.root)

    @property
    def root_pem(self) -> bytes:
        """What devices pin, as `fleet-ca.pem`."""
        return key_files.certificate_pem(self.root)

    @property
    def chain_pem(self) -> bytes:
        """Root and issuing CAs: what a broker verifies its clients with."""
        return key_files.certificate_pem(self.root, *(signed.certificate for signed in (*self.issuing, *self.waiting)))

    @property
    def enrolment_chain_pem(self) -> bytes:
        """The same where claims and birth certificates are taken, too: on the enrolment listener only."""
        return self.chain_pem + key_files.certificate_pem(self.enrolment.certificate)

    def device(self, csr_der: bytes, device: str) -> Issued:
        """A certificate of 90 days for the key of a CSR. Raises `CsrError`; `WireError` where `device` is no id."""
        subject = self._client(check_device_id(device), "device", device)
        return self._for_csr(csr_der, subject, self.issuing[-1], profile.DEVICE_DAYS)

    def stand_in(self, device: str) -> KeyPair:
        """A certificate in a device's name, for the host to take its place at a broker: for a day, and in no record."""
        subject = self._client(check_device_id(device), "device", device)
        return self._with_key(subject, self.issuing[-1], STAND_IN_DAYS)

    def birth(self, csr_der: bytes, device: str) -> Issued:
        """A certificate of ten years that may only ask for the device's enrolment. Raises as `device` does."""
        subject = self._client(birth_name(device), "birth", device)
        return self._for_csr(csr_der, subject, self.enrolment, profile.BIRTH_DAYS)

    def claim(self, name: str, days: float) -> KeyPair:
        """The certificate of a claim such as `@claim-7`; raises `WireError` for any other name."""
        if not check_principal(name).startswith(CLAIM_PREFIX):
            device_of_birth(name)  # a birth certificate is made for a CSR, by `birth`
            raise IdentityError(f"{name} is not a claim")
        subject = self._client(name, "claim", name.removeprefix(CLAIM_PREFIX))
        return self._with_key(subject, self.enrolment, days)

    def server(self, names: Sequence[str]) -> KeyPair:
        """The certificate of a broker under these host names and addresses. Raises `IdentityError`."""
        return self._with_key(profile.server(names), self.issuing[-1], profile.HOST_DAYS)

    def principal(self, name: str) -> KeyPair:
        """The certificate of one of the host's own names: an @ and small letters, such as `@plane`."""
        if not re.match(r"^@[a-z]{1,32}\Z", name):
            raise IdentityError(f"{name!r} is not one of the host's own names")
        return self._with_key(self._client(name, name.removeprefix("@")), self.issuing[-1], profile.HOST_DAYS)

    def revocation_list(self, serials: Iterable[tuple[str, float]]) -> bytes:
        """PEM of every list that a verifier of the chain needs; each serial (hex) with when it was revoked.

        A verifier that checks lists wants one of each CA of the chain. Which of the CAs has signed a serial is not
        asked: each names them all, for no two certificates share one. What is no serial, in a damaged registry, is
        left out: it would keep all others from being listed.
        """
        now, signing = self.now, (*self.issuing, *self.waiting, self.enrolment)
        revoked = [(int(s, 16), when if 0 <= when <= now else now) for s, when in serials if _SERIAL.match(s)]
        lists = (profile.revocation_list(signed, revoked, now) for signed in signing)
        return self.root_list + b"".join(made.public_bytes(Encoding.PEM) for made in lists)

    def _client(self, common_name: str, kind: str, name: str = "") -> Subject:
        return profile.client(self.fleet, common_name, kind, name)

    def _for_csr(self, csr_der: bytes, subject: Subject, issuer: Signed, days: float) -> Issued:
        csr = read_csr(csr_der)
        made = profile.leaf(csr.key, subject, issuer, days, self.now)
        return Issued(_chain(made, issuer), serial_of(made), made.not_valid_after_utc.timestamp(), csr.key_sha256)

    def _with_key(self, subject: Subject, issuer: Signed, days: float) -> KeyPair:
        key = profile.new_key()
        made = profile.leaf(key.public_key(), subject, issuer, days, self.now)
        return KeyPair(
            _chain(made, issuer), key_files.key_pem(key), serial_of(made), made.not_valid_after_utc.timestamp()
        )


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as 32 hex digits, as the registry has it."""
    return f"{certificate.serial_number:032x}"


def issuing_files(folder: Path, *, waiting: bool = False) -> list[Path]:
    """The certificates of the issuing CAs that sign or have signed, oldest first; or of those that wait to."""
    ending = f"{key_files.CERTIFICATE}{key_files.NEXT if waiting else ''}"
    with disk_errors(f"cannot read {folder / 'issuing'}"):
        names = [path.name.removesuffix(ending) for path in (folder / "issuing").glob(f"*{ending}")]
    return [folder / "issuing" / f"{name}{ending}" for name in sorted(filter(str.isdecimal, names), key=int)]


def _chain(leaf: x509.Certificate, issuer: Signed) -> bytes:
    return key_files.certificate_pem(leaf, issuer.certificate)


def _load(path: Path, root: x509.Certificate | None = None) -> Signed:
    """A CA and its key, signed by `root`, or by itself."""
    number = path.name.partition(".")[0]
    certificate, key = key_files.load_certificates(path)[0], key_files.load_key(path.with_name(f"{number}.key"))
    if certificate.public_key() != key.public_key():
        raise IdentityError(f"{path} is not the certificate of the key beside it", hint=_BACKUP, code="mismatch")
    try:
        certificate.verify_directly_issued_by(root or certificate)
    except (ValueError, TypeError, InvalidSignature):
        by = "root.pem" if root else "itself"
        raise IdentityError(f"{path} is not signed by {by}", hint=_BACKUP, code="mismatch") from None
    return Signed(certificate, key)


def _check_alive(issuing: Signed, now: float) -> None:
    until = issuing.certificate.not_valid_after_utc
    if until.timestamp() <= now:
        raise IdentityError(
            f"the issuing CA has expired on {until:%Y-%m-%d}",
            hint="run `skerry keys renew-issuing`, and check this computer's clock",
            code="issuing_expired",
        )
