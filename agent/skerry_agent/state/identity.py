"""This device's identity on disk: who the host says it is, its keys and certificates, and the state folder's own name.

    <state>/incarnation                32 hex digits, made with the state folder
    <state>/identity -> identities/X   the identity in use, replaced by one rename
    <state>/identities/X/              device.key, device.pem, birth.key, birth.pem, identity.json; never changed
                                       (identity.sealed: the same as identity.json, with a checksum)
    <state>/identities/.request-KIND/  keys of a request that waits for its answer: by claim, birth or renewal

A renewed identity lies beside the one in use until it has connected once. Makes no key and reads no certificate: the
updater does (`updater/identity.py`); what is damaged there shows when TLS wants to use it.
"""

import contextlib
import os
import re
from pathlib import Path

from msgspec import Struct

from skerry_agent.state.disk import (
    DiskError,
    make_folder,
    point,
    read_record,
    remove_folder,
    sync_folder,
    write_private,
)
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import HEX32_PATTERN, DeviceId, Incarnation

LINK, FOLDER, REQUEST, NEW = "identity", "identities", ".request-", ".new"
DEVICE_KEY, DEVICE_PEM, BIRTH_KEY, BIRTH_PEM = "device.key", "device.pem", "birth.key", "birth.pem"
RECORD, SEALED = "identity.json", "identity.sealed"
INCARNATION = "incarnation"
MOVED = "moved"
"""In the place of a claim: the identity came over the old way, and has not been renewed over the new one yet."""


class Identity(Struct, frozen=True):
    """What the certificate of a device says, and the state folder that it was asked for. Times as in the certificate.

    `serial` is that of the certificate, in hex; `claim` the sha256 of the claim's file that is used up by it: where
    that cannot be removed, it is not used again; or `MOVED`.
    """

    device: DeviceId
    incarnation: Incarnation
    serial: str
    not_before: float
    not_after: float
    claim: str = ""


class StoredIdentity(Struct, frozen=True):
    """An identity and the folder that holds its files."""

    folder: Path
    identity: Identity

    @property
    def has_birth(self) -> bool:
        """Whether it can come back by its birth certificate, as far as its files show without `cryptography`."""
        try:
            pem, key = ((self.folder / name).read_bytes() for name in (BIRTH_PEM, BIRTH_KEY))
        except OSError:
            return False
        return b"-----BEGIN CERTIFICATE-----" in pem and b"PRIVATE KEY-----" in key


class IdentityStore:
    """The identities below a state folder. `issue` says what is wrong with the one in use."""

    def __init__(self, state: Path) -> None:
        self.state, self.folder = state, state / FOLDER
        self.issue: str | None = None

    def request(self, kind: str) -> Path:
        """Where the updater keeps the keys of a request."""
        return self.folder / f"{REQUEST}{kind}"

    def current(self) -> StoredIdentity | None:
        """The identity in use, None where there is none, or none that can be read."""
        self.issue = None
        link = self.state / LINK
        if not link.is_symlink() and not link.is_dir():
            return None
        try:
            return self._read(link.resolve())
        except DiskError as error:
            self.issue = str(error)
            return None

    def renewed(self) -> StoredIdentity | None:
        """An identity beside the one in use: it has not connected yet."""
        in_use = (self.state / LINK).resolve()
        try:
            names = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return None
        found = []
        for folder in (self.folder / name for name in names if self.folder / name != in_use):
            with contextlib.suppress(DiskError):
                found.append(self._read(folder))
        return max(found, key=lambda each: each.identity.not_after, default=None)

    def stored(self, name: str) -> StoredIdentity:
        """The identity in a folder that the updater has made. Raises `DiskError`."""
        return self._read(self.folder / name)

    def adopt(self, chosen: StoredIdentity) -> None:
        """Use this identity from now on; the others and their requests are removed. Raises `OSError`."""
        point(self.state / LINK, f"{FOLDER}/{chosen.folder.name}")
        self.drop_others(chosen)

    def tidy(self, kept: StoredIdentity) -> None:
        """Remove what a kill has left of the request that this identity was made of. Raises `OSError`."""
        remove_folder(self.folder / NEW)
        for request in self.folder.glob(f"{REQUEST}*"):
            key = request / DEVICE_KEY
            if not key.exists() or key.read_bytes() == (kept.folder / DEVICE_KEY).read_bytes():
                remove_folder(request)

    def drop_others(self, kept: StoredIdentity) -> None:
        """Remove all but one identity, and all requests. Raises `OSError`."""
        for path in self.folder.iterdir():
            if path.name != kept.folder.name:
                remove_folder(path)

    def _read(self, folder: Path) -> StoredIdentity:
        """By its checksummed record, or where that is damaged by the one for people."""
        with contextlib.suppress(DiskError):
            sealed = read_record(folder / SEALED, Identity)
            if sealed is not None:
                return StoredIdentity(folder, sealed)
        try:
            identity = codec.decode((folder / RECORD).read_bytes(), Identity)
        except (OSError, WireError) as error:
            said = error.strerror if isinstance(error, OSError) else "; ".join(error.issues)
            raise DiskError(
                f"the identity in {folder} cannot be used: {said}",
                hint="enrol the device again: `skerry device provision` on the host",
                code="damaged_identity",
            ) from None
        return StoredIdentity(folder, identity)


def read_incarnation(state: Path) -> str | None:
    """The name of this state folder, None where it has none. That of its identity where its own file is damaged."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (state / INCARNATION).read_bytes().decode("ascii").strip()
        if re.match(HEX32_PATTERN, text):
            return text
    stored = IdentityStore(state).current()
    return stored.identity.incarnation if stored is not None else None


def incarnation_of(state: Path) -> str:
    """The name of this state folder, made if it has none yet, and the same for ever after. Raises `OSError`."""
    path, known = state / INCARNATION, read_incarnation(state)
    made = known or os.urandom(16).hex()
    line = made.encode() + b"\n"
    if not path.exists() or path.read_bytes() != line:
        write_private(path, line)
    return made


def drop_claim(files: tuple[Path, ...]) -> bool:
    """Remove the files of a claim that is used up; False where they stay: the folder may be read-only."""
    try:
        for path in files:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
    except OSError:
        return False
    return True


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may open. Raises `OSError`."""
    make_folder(folder)
    folder.chmod(0o700)
