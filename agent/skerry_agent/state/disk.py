"""Files that survive a crash: the only module that writes what must not be lost or torn.

Write to a temporary name, fsync, rename, fsync the folder: a reader finds the old content or the new, never a part.
Records carry a checksum, so a damaged file is detected and not used.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import TypeVar

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError, WireError

T = TypeVar("T")
_DIGEST_CHARS = 64


class DiskError(SkerryError):
    """The device's storage refused or damaged something."""

    code = "disk"


def os_error_text(error: OSError) -> str:
    """In words: what the system says, and of which file."""
    return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable in its parent. Raises `OSError`."""
    try:
        folder.mkdir()
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        return
    except OSError:  # a disk that takes nothing new may say so before it looks
        if folder.is_dir():
            return
        raise
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path` durably. Raises `OSError` and leaves the old content when it cannot."""
    _replace(path, lambda file: file.write(data))


def write_private(path: Path, data: bytes) -> None:
    """As `write_atomic`, and at no moment may others than the owner read it, whatever the umask. Raises `OSError`."""
    _replace(path, lambda file: file.write(data), lambda name, flags: os.open(name, flags, 0o600))


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to a sibling's path, or replace the one that it is, durably. Raises `OSError`."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all below it, durably. Raises `OSError`."""
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


def copy_durably(source: Path, target: Path) -> None:
    """Replace `target` by a copy of `source` with blocks of its own, as `write_atomic`. Raises `OSError`."""
    with source.open("rb") as file:
        _replace(target, lambda copy: shutil.copyfileobj(file, copy, 1 << 20))


def _replace(
    path: Path, fill: Callable[[BufferedWriter], object], opener: Callable[[str, int], int] | None = None
) -> None:
    """Put what `fill` writes in the place of a file, durably."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", opener=opener) as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


LOCK_TIMEOUT_S = 0.5
"""A process that only checks whether a folder is locked holds its lock for an instant."""


def is_locked(folder: Path) -> bool:
    """Whether another process holds a folder's lock."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # nobody can have locked what is not there
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder's lock. Raises `SkerryError` with the text `busy` when another process does.

    The folder itself is locked, not a file in it: that also works on a disk that has become read-only.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(lock):
            time.sleep(LOCK_TIMEOUT_S)
            if not _lock(lock):
                raise SkerryError(busy, hint="stop it first, or wait until it has ended")
        yield
    finally:
        os.close(lock)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_sealed(path: Path, body: bytes) -> None:
    """Replace a checksummed file: 64 hex digits of the body's sha256, a newline, the body. Raises `OSError`."""
    write_atomic(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_sealed(path: Path) -> bytes | None:
    """The body of a checksummed file; None if there is none. Changes nothing.

    Raises `DiskError` when it cannot be read, or when it is damaged.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror}", code="unreadable_record") from None
    digest, body = raw[:_DIGEST_CHARS], raw[_DIGEST_CHARS + 1 :]
    if hashlib.sha256(body).hexdigest().encode() == digest:
        return body
    raise DiskError(f"{path} is damaged", hint="it is not used", code="damaged_record")


def set_aside(path: Path) -> None:
    """Move a damaged file away, for somebody to look at; where the disk refuses, it stays and is found again."""
    with contextlib.suppress(OSError):
        path.replace(path.with_name(f"{path.name}.damaged"))


def write_record(path: Path, record: object) -> None:
    """Replace a checksummed record; its body is JSON. Raises `OSError`."""
    write_sealed(path, codec.encode(record))


def read_record(path: Path, kind: type[T]) -> T | None:
    """Read a record back; None if there is none. Raises `DiskError` when it cannot be read or used."""
    body = read_sealed(path)
    try:
        return None if body is None else codec.decode(body, kind)
    except WireError as error:
        raise DiskError(f"{path} has an unknown format: {'; '.join(error.issues)}", code="foreign_record") from None


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read. Raises `OSError`, also for a pipe or a device, which may have no end or never begin."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - Path.open has no opener; the caller closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_regular(path: Path, most: int) -> bytes:
    """At most so many bytes of a file that somebody else has put there. Raises `OSError`, as `open_regular`."""
    with open_regular(path) as file:
        return file.read(most)


def sha256_of(path: Path) -> str:
    """Hash a file without reading it whole into memory. Raises `OSError`, as `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
