"""Makes a backup of a home and its registry, also while a plane serves them: one sealed file, complete or not there.

The archive is a tar, compressed by Zstandard and sealed: the table of contents, the registry as an SQLite file, the
files of the home. The registry is copied first and the store last: releases and objects are only ever added, so that
all that the registry names is in the store by then. What is ordered or comes in after the copy is not in the backup.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import msgspec
import zstandard

from skerry_host.files import sync_folder
from skerry_host.home import Home
from skerry_host.plane.backup import contents, sealed, snapshot
from skerry_host.plane.backup.contents import Contents
from skerry_host.plane.backup.workplace import workplace
from skerry_host.plane.errors import BackupError, BackupPlaceError
from skerry_host.plane.registry.place import shown

LEVEL = 3
"""Of Zstandard: models hardly shrink, the registry to about a third."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: its table of contents, its size, and what was found damaged on the way."""

    contents: Contents
    size: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A home, where its registry is (a path, or a URL as SQLAlchemy takes it), and the version of this Skerry."""

    home: Home
    registry: Path | str
    skerry: str


def create(source: Source, file: Path, passphrase: str, now: float, work: int = sealed.WORK) -> Made:
    """Write a backup to `file`, which may be an older backup; raises `BackupError`, `RegistryError`.

    `now` is in seconds since 1970; `work` as of `sealed`.
    """
    _require_place(file, source.home.root)
    warnings: list[str] = []
    with workplace(source.home.root / contents.WORKPLACE, "another backup of this home is being made") as folder:
        copy = folder / contents.REGISTRY
        devices = snapshot.take(source.registry, copy)
        table = Contents(
            created=now,
            skerry=source.skerry,
            home=str(source.home.root),
            registry=shown(str(source.registry)),
            revision=snapshot.REVISION,
            devices=devices,
            releases=sum(1 for _ in source.home.store.glob("releases/*/*.json")),
        )
        with _replaced(file) as target:
            sealer = sealed.Sealer(target, passphrase, work)
            with zstandard.ZstdCompressor(level=LEVEL).stream_writer(
                cast("IO[bytes]", sealer), closefd=False
            ) as packed:
                _write(packed, table, copy, source.home.root, warnings)
            sealer.finish()
    return Made(table, file.stat().st_size, tuple(warnings))


def _write(packed: IO[bytes], table: Contents, copy: Path, root: Path, warnings: list[str]) -> None:
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        said = msgspec.json.encode(table)
        archive.addfile(_member(contents.CONTENTS, len(said), 0o600), io.BytesIO(said))
        _add(archive, contents.REGISTRY, copy, warnings)
        for name, path in contents.files_of(root):
            _add(archive, f"{contents.HOME}/{name}", path, warnings)


def _add(archive: tarfile.TarFile, name: str, path: Path, warnings: list[str]) -> None:
    """Add a file as it is at this moment: files of a home are replaced, never written over, or only grow."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # replaced by another name, or removed, since it was listed
        return
    except OSError as error:
        raise BackupError(
            f"cannot read {path}: {error.strerror}", hint="run it as the user of `skerry serve`"
        ) from None
    with file:
        status = os.fstat(file.fileno())
        reading = _Hashed(file, path)
        archive.addfile(_member(name, status.st_size, status.st_mode & 0o777), reading)  # type: ignore[arg-type]
    if path.parent.parent.name == "objects" and reading.sha256.hexdigest() != path.name:
        warnings.append(f"object {path.name[:12]} of the store is damaged, and of no use in the backup")


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self.sha256 = hashlib.sha256()

    def read(self, count: int) -> bytes:
        """All of `count`; raises `BackupError` where the file has become shorter."""
        try:
            data = self._file.read(count)
        except OSError as error:
            raise BackupError(f"cannot read {self._path}: {error.strerror}") from None
        if len(data) < count:
            raise BackupError(f"{self._path} became shorter while it was read", hint="make the backup again")
        self.sha256.update(data)
        return data


def _require_place(file: Path, root: Path) -> None:
    """Raise `BackupPlaceError` where the file would be in the home, or would replace something that is no backup."""
    if file.resolve().is_relative_to(root.resolve()):
        hint = "choose a place that is not lost with it"
        raise BackupPlaceError(f"{file} is in the home that it would hold", hint=hint)
    if not file.exists():
        return
    if not file.is_file():  # a pipe would wait here for ever
        raise BackupPlaceError(f"{file} is no file", hint="name a file")
    try:
        with file.open("rb") as existing:
            beginning = existing.read(len(sealed.MAGIC))
    except OSError as error:
        raise BackupPlaceError(f"cannot write {file}: {error.strerror}", hint="choose another name") from None
    if not sealed.looks_like_one(beginning):
        raise BackupPlaceError(f"{file} exists, and is no backup of Skerry's", hint="choose another name")


@contextmanager
def _replaced(file: Path) -> Iterator["_Written"]:
    """A file for its owner only that takes the name when the block has ended well, and is gone otherwise."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(
            f"cannot write {file}: {error.strerror}", hint="choose a folder that can be written"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield _Written(target, file)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise cannot_write(file, error) from None
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


class _Written:
    """Says of which file it is that it cannot be written: that disk is full, not the one of the home."""

    def __init__(self, target: IO[bytes], file: Path) -> None:
        self._target, self._file = target, file

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        try:
            return self._target.write(data)
        except OSError as error:
            raise cannot_write(self._file, error) from None


def cannot_write(path: Path, error: OSError) -> BackupError:
    """What is said of a disk that is full or fails."""
    return BackupError(f"cannot write {path}: {error.strerror}", hint="nothing was left there; make room and try again")
