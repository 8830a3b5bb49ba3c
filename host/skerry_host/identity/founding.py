"""Founds a fleet's authority: its id, root, issuing CA and the root's list, in one folder that is there or is not.

Knows the layout that `authority` reads. Never touches an authority that exists.
"""

import datetime as dt
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from skerry_host.files import sync_folder, write_atomic
from skerry_host.identity import key_files, profile
from skerry_host.identity.errors import IdentityError
from skerry_host.identity.profile import Signed

EARLIEST = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()
"""A clock before this was never set: what is made by it would have expired as soon as it is."""

LATEST = dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp()


def found(folder: Path, now: float) -> None:
    """Make an authority in `folder`, absent or empty; of two processes one is first. Raises `IdentityError`."""
    check_clock(now)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # 0700
    except OSError as error:
        raise IdentityError(f"cannot make {folder}: {error.strerror}") from None
    try:
        _fill(made, now)
        made.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if not (folder / "root.pem").exists():  # else another process was first: its authority is the fleet's
            raise IdentityError(f"cannot make {folder}: {error.strerror}") from None


def add_issuing(folder: Path, number: int, root: Signed, now: float, ending: str = key_files.NEXT) -> Path:
    """Make the issuing CA of this number and the root's list anew; its certificate, which makes it one, is last.

    It waits: who verifies must know of a CA's list before it signs anything (`custody.activate`).
    """
    key = profile.new_key()
    write_atomic(folder / "issuing" / f"{number}.key", key_files.key_pem(key), mode=0o600)
    root_list = profile.revocation_list(root, (), now)
    write_atomic(folder / "root.crl.pem", root_list.public_bytes(Encoding.PEM))
    certificate = profile.issuing_certificate(key.public_key(), root, number, now)
    path = folder / "issuing" / f"{number}.pem{ending}"
    write_atomic(path, key_files.certificate_pem(certificate))
    return path


def _add_enrolment(folder: Path, fleet: str, now: float) -> None:
    key = profile.new_key()
    write_atomic(folder / "1.key", key_files.key_pem(key), mode=0o600)
    certificate = profile.enrolment_certificate(key, fleet, now)
    write_atomic(folder / "1.pem", key_files.certificate_pem(certificate))


def check_clock(now: float) -> None:
    """Raise `IdentityError` where this computer's clock was never set."""
    if not EARLIEST <= now < LATEST:
        raise IdentityError(
            f"this computer's clock says {dt.datetime.fromtimestamp(now, dt.UTC):%Y-%m-%d}",
            hint="set it: certificates count from it",
            code="clock",
        )


def _fill(folder: Path, now: float) -> None:
    key = profile.new_key()
    root = Signed(profile.root_certificate(key, secrets.token_hex(8), now), key)
    for below in ("root", "issuing", "enrolment"):
        (folder / below).mkdir(mode=0o700)
    write_atomic(folder / "root" / "root.key", key_files.key_pem(key), mode=0o600)
    add_issuing(folder, 1, root, now, ending="")
    _add_enrolment(folder / "enrolment", profile.fleet_of(root.certificate), now)
    write_atomic(folder / "root.pem", key_files.certificate_pem(root.certificate))
    os.chmod(folder, 0o700)  # noqa: PTH101
