"""The files that the plane and its broker need of the authority, made where they are missing and renewed in time.

Each certificate lies in one file with its chain and its key, so that one rename swaps all three: brokers, and Python's
`load_cert_chain`, take the same file for both. Nothing here starts or reloads a broker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from skerry_agent.wire.enrolment import CANARY_NAME, OLD_NAME, PLANE_NAME
from skerry_host.files import write_atomic
from skerry_host.identity import key_files, profile
from skerry_host.identity.authority import Authority, KeyPair
from skerry_host.identity.custody import activate
from skerry_host.identity.errors import IdentityError

MAX_LIST_BYTES = 64 * 1024 * 1024
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class PlaneFiles:
    """Paths. `ca` is what clients pin, `crl` lists who is refused.

    `chain` is what the operation listener verifies clients with, `enrolment_chain` what the enrolment listener does.
    """

    ca: Path
    chain: Path
    enrolment_chain: Path
    plane_cert: Path
    plane_key: Path
    server_cert: Path
    server_key: Path
    canary_cert: Path
    canary_key: Path
    old_cert: Path
    old_key: Path
    crl: Path


def plane_identity(
    folder: Path, names: Sequence[str], now: float, revoked: Sequence[tuple[str, float]] | None = None
) -> PlaneFiles:
    """Make or renew what is due, at two thirds of a certificate's life, and return the paths.

    `names` are the host names and addresses, beside this computer's own, that the broker is reached by. `revoked` are
    serials (hex) with when; None keeps those that the list on disk has. An issuing CA that waits signs from now on,
    so a broker that runs must read its files again afterwards. Raises `IdentityError`.
    """
    files = plane_files(folder / "plane")
    wanted = tuple(dict.fromkeys((*LOCAL_NAMES, *names)))
    try:
        authority = Authority.open(folder, now)
        files.ca.parent.mkdir(mode=0o700, exist_ok=True)
        _write(files.ca, authority.root_pem)
        _write(files.chain, authority.chain_pem)
        _keep(files.plane_cert, authority, lambda: authority.principal(PLANE_NAME))
        _write(files.enrolment_chain, authority.enrolment_chain_pem)
        _keep(files.old_cert, authority, lambda: authority.principal(OLD_NAME))
        _keep(files.canary_cert, authority, lambda: authority.principal(CANARY_NAME))
        _keep(files.server_cert, authority, lambda: authority.server(wanted), wanted)
        write_atomic(files.crl, authority.revocation_list(_listed(files.crl) if revoked is None else revoked))
        activate(folder)
    except OSError as error:
        raise IdentityError(f"cannot write {error.filename or files.ca.parent}: {error.strerror}") from None
    return files


def plane_files(folder: Path) -> PlaneFiles:
    """Where `plane_identity` puts them, given the folder of these files; they need not be there."""
    plane, server, canary, old = (folder / f"{name}.pem" for name in ("plane", "server", "canary", "old"))
    return PlaneFiles(
        ca=folder / "fleet-ca.pem",
        chain=folder / "broker-ca.pem",
        enrolment_chain=folder / "enrolment-ca.pem",
        plane_cert=plane,
        plane_key=plane,
        server_cert=server,
        server_key=server,
        canary_cert=canary,
        canary_key=canary,
        old_cert=old,
        old_key=old,
        crl=folder / "revoked.crl.pem",
    )


def _keep(path: Path, authority: Authority, make: Callable[[], KeyPair], names: Sequence[str] = ()) -> None:
    """Make the file anew unless what it holds is good, of the authority's newest CA, for these names, and young."""
    if not _good(path, authority, names):
        pair = make()
        write_atomic(path, pair.pem + pair.key_pem, mode=0o600)


def _good(path: Path, authority: Authority, names: Sequence[str]) -> bool:
    try:
        leaf, issuing = key_files.load_certificates(path)[:2]
        key = key_files.load_key(path)
    except (IdentityError, ValueError):  # absent, cut, or open to others: its key is nobody's to keep
        return False
    return (
        leaf.public_key() == key.public_key()
        and issuing == authority.issuing[-1].certificate
        and leaf.issuer == issuing.subject
        and leaf.not_valid_before_utc.timestamp() <= authority.now < renewal_due(leaf)
        and (not names or profile.server_names(leaf) == frozenset(profile.server(names).names))
    )


def renewal_due(certificate: x509.Certificate) -> float:
    """When two thirds of a certificate's life are over."""
    begun = certificate.not_valid_before_utc.timestamp()
    return begun + (certificate.not_valid_after_utc.timestamp() - begun) * 2 / 3


def _listed(path: Path) -> list[tuple[str, float]]:
    """What the lists on disk take back; none where there are none yet."""
    return parse_lists(key_files.read(path, MAX_LIST_BYTES), str(path)) if path.exists() else []


def parse_lists(pem: bytes, where: str) -> list[tuple[str, float]]:
    """Serials (hex) with when, of every list in PEM text; raises `IdentityError` that names `where` it was."""
    marker = b"-----BEGIN X509 CRL-----"
    try:
        rows = [row for part in pem.split(marker)[1:] for row in x509.load_pem_x509_crl(marker + part)]
        return sorted({(f"{row.serial_number:032x}", row.revocation_date_utc.timestamp()) for row in rows})
    except (ValueError, x509.InvalidVersion):
        hint = "remove it: it is made anew from the registry"
        raise IdentityError(f"{where} is damaged", hint=hint, code="list_damaged") from None


def _write(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
