"""Files that survive a crash: the one place that writes what must not be lost or torn.

Write to a temporary name, fsync, rename, fsync the folder: a reader finds the old content or the new, never a part.
Records carry a checksum, so a damaged file is detected and not believed.
"""

import hashlib
import os
from pathlib import Path
from typing import TypeVar

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError

T = TypeVar("T")
_DIGEST_CHARS = 64


class DiskError(SkerryError):
    """The device's storage refused or damaged something."""

    code = "disk"


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path` durably. Raises `OSError` and leaves the old content when it cannot."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_record(path: Path, record: object) -> None:
    """Replace a checksummed record: 64 hex digits of the body's sha256, a newline, the body as JSON."""
    body = codec.encode(record)
    write_atomic(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_record(path: Path, kind: type[T]) -> T | None:
    """Read a record back; None if there is none. Raises `DiskError` when it is damaged, after moving it aside."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, body = raw[:_DIGEST_CHARS], raw[_DIGEST_CHARS + 1 :]
    if hashlib.sha256(body).hexdigest().encode() == digest:
        return codec.decode(body, kind)
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    raise DiskError(f"{path} is damaged", hint=f"it was moved to {aside.name} and is not used", code="damaged_record")


def sha256_of(path: Path) -> str:
    """Hash a file without reading it whole into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
