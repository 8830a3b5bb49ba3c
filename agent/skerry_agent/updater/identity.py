"""Makes the keys and CSRs of a device's requests, and the folder of an identity from what the host answers.

Keys are made here and never leave the device. Killed at any moment, what was there before is there still: a request
counts once its record is written, an identity once its folder has its name. Which identity is used, the supervisor
decides; this publishes nothing and removes no claim.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import Struct

from skerry_agent.ports.jobs import AcceptIdentity, IdentityMade, MakeRequest, RequestMade
from skerry_agent.state import identity as files
from skerry_agent.state.disk import remove_folder, sync_folder, write_private, write_record
from skerry_agent.state.identity import Identity, IdentityStore, incarnation_of, make_private
from skerry_agent.updater import certificates
from skerry_agent.updater.certificates import (
    check_dates,
    check_enrolment_leaf,
    check_key,
    check_leaf,
    common_name,
    read_chain,
    refused,
)
from skerry_agent.updater.errors import RefusedError
from skerry_agent.wire import codec
from skerry_agent.wire.enrolment import birth_name, renewal_proof_bytes, return_proof_bytes
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id, check_principal

_RECORD = "request.json"


class _Request(Struct, frozen=True):
    """For what the keys beside it were made."""

    kind: str
    incarnation: str


def make_request(job: MakeRequest) -> RequestMade:
    """The CSRs of the keys that wait, or of new ones. Raises `RefusedError`, `OSError`."""
    principal, begins, ends = _authenticator(job)
    incarnation = job.incarnation or incarnation_of(Path(job.state))
    folder, wanted = IdentityStore(Path(job.state)).request(job.kind), _Request(job.kind, incarnation)
    first = job.kind in {"claim", "move"}
    names = (files.DEVICE_KEY, files.BIRTH_KEY) if first else (files.DEVICE_KEY,)
    keys = _keys_that_wait(folder, wanted, names) or _make_keys(folder, wanted, names)
    csr, birth_csr = _csr(keys[0]), _csr(keys[1]) if len(keys) > 1 else None
    proof = None if first else _proof(job, csr)
    sha256 = certificates.key_sha256(keys[0].public_key())
    return RequestMade(csr, sha256, birth_csr, principal, begins, ends, proof, incarnation)


def _authenticator(job: MakeRequest) -> tuple[str, float, float]:
    """Whose certificate authenticates the request, and its dates; empty where there is none."""
    if not job.cert_file:
        return "", 0.0, 0.0
    chain = read_chain(certificates.read_file(job.cert_file), job.cert_file)
    leaf = check_enrolment_leaf(chain, job.ca_file, job.cert_file)
    check_key(leaf, certificates.read_key(job.key_file), job.cert_file)
    try:
        principal = check_principal(common_name(leaf))
    except WireError:
        raise refused("unfit_certificate", f"{job.cert_file} is neither a claim nor a birth certificate") from None
    return principal, *certificates.window(leaf)


def _keys_that_wait(folder: Path, wanted: _Request, names: tuple[str, ...]) -> list[ec.EllipticCurvePrivateKey] | None:
    """The keys of an earlier request of the same kind, so that the host sees one board, not two."""
    try:
        if codec.decode((folder / _RECORD).read_bytes(), _Request) != wanted:
            return None
        return [certificates.read_key(str(folder / name)) for name in names]
    except (OSError, WireError, RefusedError):  # none, or damaged: nobody has answered it
        return None


def _make_keys(folder: Path, wanted: _Request, names: tuple[str, ...]) -> list[ec.EllipticCurvePrivateKey]:
    remove_folder(folder)
    make_private(folder.parent)
    make_private(folder)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    for name, key in zip(names, keys, strict=True):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(folder / name, pem)
    write_private(folder / _RECORD, codec.encode(wanted))
    return keys


def _proof(job: MakeRequest, csr: bytes) -> bytes:
    """The key in use, or the birth key, says that it wants this one in its place."""
    text = renewal_proof_bytes(csr) if job.kind == "renewal" else return_proof_bytes(csr, job.incarnation)
    return certificates.read_key(job.key_file).sign(text, ec.ECDSA(hashes.SHA256()))


def _csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Of an empty name: the host gives the device its own, whatever stands here."""
    return x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def accept_identity(job: AcceptIdentity) -> IdentityMade:
    """Check everything, then make the folder. Raises `RefusedError`, `OSError`."""
    store = IdentityStore(Path(job.state))
    request = store.request(job.kind)
    identity = _checked_device(job, request)
    birth = _checked_birth(job, request, identity.device)
    made = store.folder / identity.serial
    if not made.exists():
        _write(made, job, request, _Made(identity, birth))
    return IdentityMade(made.name)


def _checked_device(job: AcceptIdentity, request: Path) -> Identity:
    what = "the certificate that the host gave"
    leaf = check_leaf(read_chain(job.certificate, what), job.ca_file, what)
    check_key(leaf, certificates.read_key(str(request / files.DEVICE_KEY)), what)
    check_dates(leaf, job.now, what)
    try:
        device = check_device_id(common_name(leaf))
    except WireError:
        raise refused("wrong_name", f"{what} is of {common_name(leaf)!r}, which is no device") from None
    if job.device and device != job.device:
        raise refused("wrong_name", f"{what} is of {device}, and this device is {job.device}")
    incarnation = codec.decode((request / _RECORD).read_bytes(), _Request).incarnation
    begins, ends = certificates.window(leaf)
    return Identity(device, incarnation, f"{leaf.serial_number:032x}", begins, ends, job.claim)


def _checked_birth(job: AcceptIdentity, request: Path, device: str) -> Path | None:
    """Where the birth key is: the request's for a new certificate, else that of the identity before."""
    if job.birth_certificate is None:
        return _birth_of_before(Path(job.before)) if job.before else None
    what = "the birth certificate that the host gave"
    leaf = check_enrolment_leaf(read_chain(job.birth_certificate, what), job.ca_file, what)
    key = request / files.BIRTH_KEY
    check_key(leaf, certificates.read_key(str(key)), what)
    if common_name(leaf) != birth_name(device):
        raise refused("wrong_name", f"{what} is of {common_name(leaf)!r}, and this device is {device}")
    return key


def _birth_of_before(folder: Path) -> Path | None:
    """Its birth key, None where that or its certificate is damaged: for that no certificate is left to expire."""
    pem, key = folder / files.BIRTH_PEM, folder / files.BIRTH_KEY
    try:
        leaf = read_chain(certificates.read_file(str(pem)), str(pem))[0]
        check_key(leaf, certificates.read_key(str(key)), str(pem))
    except RefusedError:
        return None
    return key


class _Made(Struct, frozen=True):
    """What is checked: the identity, and where its birth key is, if it has one."""

    identity: Identity
    birth: Path | None


def _write(folder: Path, job: AcceptIdentity, request: Path, made: _Made) -> None:
    new = folder.parent / files.NEW
    remove_folder(new)
    make_private(new)
    write_private(new / files.DEVICE_KEY, (request / files.DEVICE_KEY).read_bytes())
    write_private(new / files.DEVICE_PEM, job.certificate)
    if made.birth is not None:
        pem = job.birth_certificate or made.birth.with_name(files.BIRTH_PEM).read_bytes()
        write_private(new / files.BIRTH_KEY, made.birth.read_bytes())
        write_private(new / files.BIRTH_PEM, pem)
    write_private(new / files.RECORD, codec.encode(made.identity))
    write_record(new / files.SEALED, made.identity)
    new.rename(folder)
    sync_folder(folder.parent)
