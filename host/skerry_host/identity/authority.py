"""The fleet's certificate authority: a root that may lie elsewhere, and the issuing CA that signs every certificate.

    identity/                 0700
      root.pem  root.crl.pem  what devices pin; the root's own list, made whenever the root is used
      root/root.key           only needed for the next issuing CA: `skerry keys take-root` moves it away
      issuing/1.pem  1.key    the newest number signs; older ones still sign lists of what they have issued

An `Authority` stands for one moment: open it anew for each request, which takes about a millisecond. Whom it signs
for is decided elsewhere: it takes the id that it is given, and from a CSR nothing but the key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from skerry_agent.wire.enrolment import CANARY, PLANE, birth_name, device_of_birth
from skerry_agent.wire.names import CLAIM_PREFIX, check_device_id, check_principal
from skerry_host.identity import key_files, profile
from skerry_host.identity.csr import key_sha256, read_csr
from skerry_host.identity.errors import IdentityError
from skerry_host.identity.founding import found
from skerry_host.identity.profile import Signed, Subject


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
    now: float

    @staticmethod
    def open(folder: Path, now: float) -> "Authority":
        """The authority in `folder`, founded there if the folder is absent or empty. Raises `IdentityError`."""
        if not folder.is_dir() or not any(folder.iterdir()):
            found(folder, now)
        root = key_files.load_certificates(folder / "root.pem")[0]
        issuing = tuple(_load_issuing(path, root) for path in issuing_files(folder))
        if not issuing:
            raise IdentityError(f"{folder / 'issuing'} holds no CA", hint="put it back from a backup")
        _check_alive(issuing[-1], now)
        return Authority(root, key_files.read(folder / "root.crl.pem"), issuing, now)

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
        return key_files.certificate_pem(self.root, *(signed.certificate for signed in self.issuing))

    def device(self, csr_der: bytes, device: str) -> Issued:
        """A certificate of 90 days for the key of a CSR. Raises `CsrError`; `WireError` where `device` is no id."""
        return self._for_csr(csr_der, self._client(check_device_id(device), "device", device), profile.DEVICE_DAYS)

    def birth(self, csr_der: bytes, device: str) -> Issued:
        """A certificate of ten years that may only ask for the device's enrolment. Raises as `device` does."""
        return self._for_csr(csr_der, self._client(birth_name(device), "birth", device), profile.BIRTH_DAYS)

    def claim(self, name: str, days: float) -> KeyPair:
        """The certificate of a claim such as `@claim-7`; raises `WireError` for any other name."""
        if not check_principal(name).startswith(CLAIM_PREFIX):
            device_of_birth(name)  # a birth certificate is made for a CSR, by `birth`
            raise IdentityError(f"{name} is not a claim")
        return self._with_key(self._client(name, "claim", name.removeprefix(CLAIM_PREFIX)), days)

    def server(self, names: Sequence[str]) -> KeyPair:
        """The certificate of a broker under these host names and addresses. Raises `IdentityError`."""
        return self._with_key(profile.server(names), profile.SERVER_DAYS)

    def principal(self, name: str) -> KeyPair:
        """The certificate of one of the host's own names: `@plane` or `@canary`."""
        if name not in {PLANE, CANARY}:
            raise IdentityError(f"{name} is not one of the host's own names")
        return self._with_key(self._client(name, name.removeprefix("@")), profile.PRINCIPAL_DAYS)

    def revocation_list(self, serials: Iterable[tuple[str, float]]) -> bytes:
        """PEM of every list that a verifier of the chain needs; each serial (hex) with when it was revoked.

        A verifier that checks lists wants one of each CA of the chain. Which of the issuing CAs has signed a serial is
        not asked: each names them all, for no two certificates share one.
        """
        revoked = [(int(serial, 16), when) for serial, when in serials]
        lists = (profile.revocation_list(signed, revoked, self.now) for signed in self.issuing)
        return self.root_list + b"".join(made.public_bytes(Encoding.PEM) for made in lists)

    def _client(self, common_name: str, kind: str, name: str = "") -> Subject:
        return profile.client(self.fleet, common_name, kind, name)

    def _for_csr(self, csr_der: bytes, subject: Subject, days: float) -> Issued:
        csr = read_csr(csr_der)
        made = self._leaf(csr.key, subject, days)
        return Issued(self._pem(made), serial_of(made), made.not_valid_after_utc.timestamp(), csr.key_sha256)

    def _with_key(self, subject: Subject, days: float) -> KeyPair:
        key = profile.new_key()
        made = self._leaf(key.public_key(), subject, days)
        return KeyPair(self._pem(made), key_files.key_pem(key), serial_of(made), made.not_valid_after_utc.timestamp())

    def _leaf(self, key: EllipticCurvePublicKey, subject: Subject, days: float) -> x509.Certificate:
        return profile.leaf(key, subject, self.issuing[-1], days, self.now)

    def _pem(self, leaf: x509.Certificate) -> bytes:
        return key_files.certificate_pem(leaf, self.issuing[-1].certificate)


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as 32 hex digits, as the registry has it."""
    return f"{certificate.serial_number:032x}"


def issuing_files(folder: Path) -> list[Path]:
    """The certificates of the issuing CAs, oldest first."""
    found_files = [path for path in (folder / "issuing").glob("*.pem") if path.stem.isdecimal()]
    return sorted(found_files, key=lambda path: int(path.stem))


def _load_issuing(path: Path, root: x509.Certificate) -> Signed:
    certificate, key = key_files.load_certificates(path)[0], key_files.load_key(path.with_suffix(".key"))
    if certificate.public_key() != key.public_key():
        raise IdentityError(f"{path} is not the certificate of the key beside it", hint="put both back from a backup")
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise IdentityError(f"{path} is not signed by root.pem", hint="put both back from a backup") from None
    return Signed(certificate, key)


def _check_alive(issuing: Signed, now: float) -> None:
    until = issuing.certificate.not_valid_after_utc
    if until.timestamp() <= now:
        raise IdentityError(
            f"the issuing CA has expired on {until:%Y-%m-%d}",
            hint="run `skerry keys renew-issuing`, and check this computer's clock",
            code="issuing_expired",
        )


__all__ = ["Authority", "Issued", "KeyPair", "issuing_files", "key_sha256", "serial_of"]
