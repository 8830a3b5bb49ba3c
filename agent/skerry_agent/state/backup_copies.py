"""Backup copies of the two files that a device gets from outside and cannot do without: agent.toml and trust.json.

A copy is kept in the state folder once the file has been used successfully. A file that cannot be used is damaged; so
is one whose content has changed while its modification time has not, because bit rot does not change that time. Then
the copy is used, and an issue says so. A valid file with another modification time was edited, and is used.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from skerry_agent.state.disk import DiskError, make_folder, read_record, write_record
from skerry_agent.wire.errors import SkerryError

T = TypeVar("T")
FOLDER = "kept"


class BackupCopy(Struct, frozen=True):
    """The content of a file when it was good, where it lay, and when it had been written (nanoseconds since 1970)."""

    original: str
    written_ns: int
    content: bytes


def find(original: Path, states: Iterable[Path]) -> BackupCopy | None:
    """The copy of a file, from the first state folder that has one which can be read."""
    for state in states:
        try:
            copy = read_record(_place(original, state), BackupCopy)
        except DiskError:
            continue
        if copy is not None and copy.original == str(original.absolute()):
            return copy
    return None


def choose(original: Path, copy: BackupCopy | None, parse: Callable[[bytes], T]) -> tuple[T, str | None]:
    """The parsed file, or its parsed copy and what is wrong with the file.

    Raises `OSError` and whatever `parse` raises, which must be `SkerryError`, where there is no copy.
    """
    try:
        now = _as_it_is(original)
        value = parse(now.content)
        if copy is None or not _rotten(now, copy):
            return value, None
        damage = "its content has changed, but its modification time has not"
    except (OSError, SkerryError) as error:
        if copy is None:
            raise
        damage = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return parse(copy.content), f"{original} is damaged, its backup copy is used; restore the file ({damage})"


def keep(original: Path, state: Path, parse: Callable[[bytes], object]) -> None:
    """Keep a copy of a file as it is now, if it is good and not kept yet.

    Raises `OSError` when the disk refuses it.
    """
    copy = find(original, [state])
    try:
        now = _as_it_is(original)
        parse(now.content)
    except (OSError, SkerryError):
        return
    if now != copy and not (copy is not None and _rotten(now, copy)):
        make_folder(state / FOLDER)
        (state / FOLDER).chmod(0o700)  # the file may hold the broker's password
        write_record(_place(original, state), now)


def _place(original: Path, state: Path) -> Path:
    return state / FOLDER / original.name


def _as_it_is(original: Path) -> BackupCopy:
    with original.open("rb") as file:
        return BackupCopy(str(original.absolute()), os.fstat(file.fileno()).st_mtime_ns, file.read())


def _rotten(now: BackupCopy, copy: BackupCopy) -> bool:
    return now.content != copy.content and now.written_ns == copy.written_ns
