"""The journal: one checksummed record per model, replaced atomically before any effect is performed.

Slots and the machine's state share that one record, so a commit or a rollback is a single rename.
"""

import contextlib
from pathlib import Path

from skerry_agent.disk import DiskError, read_record, write_record
from skerry_agent.records import Record


class Journal:
    """The record of one model at `path`, with the record before it kept beside it in case of damage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.with_name(path.name + ".before")

    def read(self) -> tuple[Record, str | None]:
        """The newest readable record, and what was wrong if that is not the newest written."""
        try:
            return read_record(self._path, Record) or Record(), None
        except DiskError as damage:
            return self._read_before(), str(damage)

    def _read_before(self) -> Record:
        try:
            return read_record(self._before, Record) or Record()
        except DiskError:
            return Record()

    def write(self, record: Record) -> None:
        """Make `record` the newest. Raises `OSError` (for instance a full disk) and keeps the old one."""
        with contextlib.suppress(OSError):  # a file system without hard links: then there is no record before
            if self._path.exists():
                self._before.unlink(missing_ok=True)
                self._before.hardlink_to(self._path)
        write_record(self._path, record)
