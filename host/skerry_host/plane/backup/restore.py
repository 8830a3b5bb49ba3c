"""Reads a backup: lists it, or makes a home of it, all or nothing.

The home appears by one rename, after the last byte has been checked.

Starts no plane. What happened after the backup was made is not in it: docs/operating.md says what that means.
"""

import hashlib
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_host.files import sync_folder
from skerry_host.home import Home
from skerry_host.plane.backup import contents, sealed, snapshot
from skerry_host.plane.backup.contents import Contents
from skerry_host.plane.backup.workplace import workplace
from skerry_host.plane.errors import BackupError, BackupPlaceError
from skerry_host.plane.registry import place
from skerry_host.plane.registry.records.events import Event
from skerry_host.release.store import Store

PART_BYTES = 1 << 20
NOTHING = "nothing was restored"

Member = Callable[[tarfile.TarInfo, IO[bytes]], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """The home, what is in it now, and what of that is of no use."""

    home: Home
    contents: Contents
    warnings: tuple[str, ...]


def read(file: Path, passphrase: str) -> Contents:
    """The table of contents of a backup that was checked from the first byte to the last. Raises `BackupError`."""
    return _each(file, passphrase, _ignore)


def restore(file: Path, passphrase: str, home: Home, url: str | None, now: float) -> Restored:
    """Make a home, which must not be there yet, of a backup; its registry is in it, or in the empty database at `url`.

    `now` is in seconds since 1970. Raises `BackupError`, `RegistryError`; the home is not there then.
    """
    root = Path(os.path.normpath(home.root))
    _require_empty(root)
    beside = root.with_name(f".{root.name}.restoring")
    with workplace(beside, f"{root} is being restored already") as folder:
        staged = Home(folder)
        made = _each(file, passphrase, _Writer(staged.root))
        snapshot.settle(staged.registry, _note(made, now))
        warnings = _damaged(Store(staged.store))
        for each in (staged.store, staged.broker, staged.devices):
            each.mkdir(exist_ok=True)
        if url:
            place.remember(staged, url)
            snapshot.put(staged.registry, url)
        _appear(staged.root, root, without=staged.registry if url else None)
    return Restored(Home(root), made, warnings)


def _each(file: Path, passphrase: str, member: Member) -> Contents:
    """Hand every file of the home and the registry to `member`, as they come; the table of contents."""
    with _opened(file) as source:
        opener = sealed.Opener(source, passphrase, str(file))
        with zstandard.ZstdDecompressor().stream_reader(cast("IO[bytes]", opener), closefd=False) as plain:
            made = members(plain, member, str(file))
            for rest in (plain, opener):  # up to the last chunk: without it something may have been cut off
                while rest.read(PART_BYTES):
                    pass
    return made


def members(plain: IO[bytes], member: Member, name: str) -> Contents:
    """Read the archive inside a backup, and hand each of its files to `member`; raises `BackupError`."""
    try:
        with tarfile.open(fileobj=plain, mode="r|") as archive:
            return _members(_files(archive), member)
    except (tarfile.TarError, zstandard.ZstdError, ValueError, OverflowError) as error:  # of headers that are none
        raise BackupError(f"{name} cannot be read: {error}", hint=NOTHING, code="format") from None


def _members(files: Iterator[tuple[tarfile.TarInfo, IO[bytes]]], member: Member) -> Contents:
    first, said = next(files, (None, None))
    if first is None or said is None or first.name != contents.CONTENTS:
        raise BackupError("the backup has no table of contents", hint=NOTHING, code="format")
    made = _table(said.read(PART_BYTES))
    for each, data in files:
        member(each, data)
    return made


def _files(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for each in archive:
        data = archive.extractfile(each) if each.isreg() else None
        if data is None:
            raise BackupError(f"the backup has {each.name!r}, which is no file", hint=NOTHING, code="format")
        yield each, data


def _table(said: bytes) -> Contents:
    try:
        made = codec.decode(said, Contents)
    except WireError as error:
        raise BackupError(f"the table of contents: {error.message}", hint=NOTHING, code="format") from None
    if made.format != contents.FORMAT:
        hint = "restore it with the Skerry that made it, or a later one"
        raise BackupError(
            f"the backup is of format {made.format}, made by Skerry {made.skerry}", hint=hint, code="format"
        )
    return made


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        with file.open("rb") as source:
            yield source
    except OSError as error:
        if error.filename and Path(error.filename) != file:
            raise
        raise BackupError(f"cannot read {file}: {error.strerror}", code="unreadable") from None


def _ignore(_member: tarfile.TarInfo, data: IO[bytes]) -> None:
    while data.read(PART_BYTES):
        pass


class _Writer:
    """Writes members as files below a folder, durably, with the rights that they had."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, member: tarfile.TarInfo, data: IO[bytes]) -> None:
        """Write one."""
        path = contents.checked(member.name)
        if path.parts[0] == contents.HOME and len(path.parts) > 1:
            target = self._root.joinpath(*path.parts[1:])
        elif member.name == contents.REGISTRY:
            target = self._root / contents.REGISTRY
        else:  # of a later Skerry, which adds what this one can do without
            return _ignore(member, data)
        try:
            _write(target, data, member.mode & 0o777)
        except OSError as error:
            hint = f"{NOTHING}; make room and try again"
            raise BackupError(f"cannot write {self._root}: {error.strerror}", hint=hint) from None


def _write(target: Path, data: IO[bytes], mode: int) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while part := data.read(PART_BYTES):
            file.write(part)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _require_empty(root: Path) -> None:
    try:
        used = root.is_symlink() or any(root.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackupPlaceError(f"cannot restore to {root}: {error.strerror}", hint="name a folder") from None
    if used:
        hint = "name a folder with --home that is empty, or not there"
        raise BackupPlaceError(f"{root} is not empty", hint=hint, code="not_empty")
    if root.is_mount():
        hint = f"name a folder in it, as {root / 'home'}"
        raise BackupPlaceError(
            f"{root} is a file system of its own, and cannot appear at once", hint=hint, code="mount"
        )


def _damaged(store: Store) -> tuple[str, ...]:
    """Every file of a release that is missing or is not what its name says."""
    found: dict[str, None] = {}
    try:
        for release in store.releases():
            for ref in store.blob_refs(release):
                if _sha256(store, ref.sha256) != ref.sha256:
                    found[f"object {ref.sha256[:12]} of {release} was damaged or missing before the backup"] = None
    except SkerryError as error:
        found[str(error)] = None
    return tuple(found)


def _sha256(store: Store, sha256: str) -> str:
    try:
        with store.path(sha256).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, SkerryError):
        return ""


def _note(made: Contents, now: float) -> Event:
    when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(made.created))
    return Event(
        now, "restored", "registry", f"from the backup of {when}; what came in or was ordered after that is not in it"
    )


def _appear(staged: Path, root: Path, without: Path | None) -> None:
    """Give the staged folder its name: from now on it is a home."""
    if without:
        without.unlink()
    try:
        for folder, _names, _files in os.walk(staged):
            sync_folder(Path(folder))
        staged.rename(root)
        sync_folder(root.parent)
    except OSError as error:
        raise BackupError(f"cannot make {root}: {error.strerror}", hint=NOTHING) from None
