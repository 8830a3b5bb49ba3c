"""The journal: one checksummed record per model, replaced atomically before any effect is performed.

Slots and the machine's state share that one record, so a commit or a rollback is a single rename.
"""

import contextlib
from pathlib import Path

from skerry_agent.machine.records import Record
from skerry_agent.state.disk import DiskError, make_folder, read_record, set_aside, write_record


class Journal:
    """The record of one model at `path`, with the record before it kept beside it in case of damage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.with_name(path.name + ".before")

    def read(self) -> tuple[Record, str | None]:
        """The newest readable record, and what was wrong if that is not the newest written. Changes nothing."""
        try:
            record = read_record(self._path, Record)
        except DiskError as damage:
            return self._read_before() or Record(), str(damage)
        if record is not None:
            return record, None
        before = self._read_before()
        return before or Record(), f"{self._path} is missing; the previous record is used" if before else None

    def _read_before(self) -> Record | None:
        try:
            return read_record(self._before, Record)
        except DiskError:
            return None

    def repair(self, record: Record) -> None:
        """Make what `read` found the newest record, so that the next start finds it even after further damage.

        A record that could not be read now, but may be intact, is kept; so is a damaged one without a previous one.
        """
        if self._read_before() is None:
            return
        try:
            read_record(self._path, Record)
        except DiskError as damage:
            if damage.code != "damaged_record":
                return
            set_aside(self._path)
        with contextlib.suppress(OSError):  # the record before is still there for the next start
            write_record(self._path, record)

    def write(self, record: Record) -> None:
        """Make `record` the newest. Raises `OSError` (for instance a full disk) and keeps the old one."""
        make_folder(self._path.parent)
        with contextlib.suppress(OSError):  # a file system without hard links: then there is no record before
            if self._path.exists():
                self._before.unlink(missing_ok=True)
                self._before.hardlink_to(self._path)
        write_record(self._path, record)
