"""A folder for unfinished work, of one process at a time: what a killed one has left is removed by the next."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_host.plane.errors import BackupError


@contextmanager
def workplace(folder: Path, taken: str) -> Iterator[Path]:
    """An empty folder for its owner only, gone at the end unless it was moved away; `taken` says why it cannot be had.

    Raises `BackupError`.
    """
    descriptor = _locked(folder, taken)
    try:
        _clear(folder)
        yield folder
    finally:
        if _is_still(folder, descriptor):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked(folder: Path, taken: str) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BackupError(f"cannot make {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise BackupError(taken, hint="wait for it to end", code="busy") from None
    return descriptor


def _clear(folder: Path) -> None:
    folder.chmod(0o700)
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _is_still(folder: Path, descriptor: int) -> bool:
    """Whether the name is still that of our folder, which may have been moved away."""
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
