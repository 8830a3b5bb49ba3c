"""The root key's keeping: moves it out of the home, and lets it sign the next issuing CA from where it is.

Whatever fails, the key is where it was, readable: it is removed from the home only after its copy was read back. What
a disk keeps of a removed file is not this module's matter.
"""

import os
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from skerry_host.files import sync_folder, write_atomic
from skerry_host.identity import key_files
from skerry_host.identity.authority import issuing_files
from skerry_host.identity.errors import IdentityError, disk_errors
from skerry_host.identity.founding import add_issuing, check_clock
from skerry_host.identity.key_files import CERTIFICATE, KEY, ROOT
from skerry_host.identity.profile import Signed


@disk_errors("cannot take the root key away", "it is where it was")
def take_root(folder: Path, to: Path, passphrase: bytes | None) -> Path:
    """Move the root key, under a passphrase if there is one, and a copy of its certificate to the folder `to`.

    Returns where the key is now. May be run again after it was interrupted. Raises `IdentityError`.
    """
    here, there = folder / ROOT / f"{ROOT}{KEY}", to.absolute() / f"{ROOT}{KEY}"
    if there.parent.resolve().is_relative_to(folder.parent.resolve()):
        raise IdentityError(f"{to} is inside the home", hint="take the key to another disk")
    if not here.exists():
        raise IdentityError(f"there is no root key in {folder / ROOT}: it was taken away before", code="root_away")
    certificate = _root_certificate(folder)
    key = _of_root(key_files.load_key(here), certificate, here)
    copied = there.exists()
    if copied:
        _of_root(key_files.load_key(there, passphrase), certificate, there)  # else it is another fleet's
    try:
        there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(there.with_suffix(CERTIFICATE), key_files.certificate_pem(certificate))
        _write(there, key_files.key_pem(key, passphrase), sealed=passphrase is not None)
        _of_root(key_files.load_key(there, passphrase), certificate, there)
        here.unlink()
        with suppress(OSError):  # after a power cut the key may be here still: it is taken again
            sync_folder(here.parent)
    except OSError as error:
        if here.exists() and not copied:
            there.unlink(missing_ok=True)
        raise IdentityError(f"cannot move the root key to {to}: {error.strerror}", hint="it is where it was") from None
    return there


@disk_errors("cannot make an issuing CA", "the one before signs on")
def renew_issuing(folder: Path, root_folder: Path, passphrase: bytes | None, now: float) -> Path:
    """Make the next issuing CA, signed by the root key in `root_folder`; it signs once `activate` was called.

    Returns its certificate's file. Raises `IdentityError`.
    """
    check_clock(now)
    certificate, path = _root_certificate(folder), root_folder / f"{ROOT}{KEY}"
    if certificate.not_valid_after_utc.timestamp() <= now:
        raise IdentityError(f"the fleet's root has expired on {certificate.not_valid_after_utc:%Y-%m-%d}", code="clock")
    if not path.exists() and root_folder == folder / ROOT:
        hint = "give the folder where it is with --root"
        raise IdentityError("the root key was taken away from this home", hint=hint, code="root_away")
    key = _of_root(key_files.load_key(path, passphrase), certificate, path)
    made = (*issuing_files(folder), *issuing_files(folder, waiting=True))
    number = max(int(each.name.partition(".")[0]) for each in made) + 1
    return add_issuing(folder, number, Signed(certificate, key), now)


@disk_errors("the next issuing CA cannot sign yet", "the one before signs on")
def activate(folder: Path) -> None:
    """Let the issuing CA that waits sign from now on: who verifies knows of it. Raises `IdentityError`."""
    for waiting in (folder / "issuing").glob(f"*{key_files.NEXT}"):
        os.replace(waiting, waiting.with_name(waiting.name.removesuffix(key_files.NEXT)))  # noqa: PTH105
        sync_folder(waiting.parent)


def _write(path: Path, pem: bytes, *, sealed: bool) -> None:
    """A sealed key may lie on a stick with FAT, which knows no modes; an open one may not."""
    write_atomic(path, pem, mode=0o644 if sealed else 0o600)
    if sealed:
        with suppress(PermissionError):
            path.chmod(0o600)


def _root_certificate(folder: Path) -> x509.Certificate:
    return key_files.load_certificates(folder / f"{ROOT}{CERTIFICATE}")[0]


def _of_root(key: EllipticCurvePrivateKey, certificate: x509.Certificate, where: Path) -> EllipticCurvePrivateKey:
    if key.public_key() != certificate.public_key():
        raise IdentityError(f"{where} is not the root key of this fleet", code="mismatch")
    return key
