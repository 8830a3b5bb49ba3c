"""Reports on disk until the broker has acknowledged them. Bounded: the oldest go first, and how many went is counted.

One checksummed file a report, named by a running number. A report may be sent twice (a crash between acknowledgement
and removal); whoever ingests drops it by (device, boot, sequence).
"""

import contextlib
from pathlib import Path

from skerry_agent.disk import DiskError, make_folder, read_sealed, write_sealed


class Outbox:
    """The folder of reports that wait."""

    def __init__(self, folder: Path, max_bytes: int, max_reports: int = 10**9) -> None:
        self._folder = folder
        self._max_bytes, self._max_reports = max_bytes, max_reports
        self.dropped = 0
        self._sizes: dict[str, int] = {}
        with contextlib.suppress(OSError):  # a disk that cannot be read: what waits is found at the next start
            make_folder(folder)
            self._sizes = self._found()
        self._next = 1 + max((int(name.split(".")[0]) for name in self._sizes), default=0)

    def _found(self) -> dict[str, int]:
        """What waits from before, oldest first; what a crash tore is removed."""
        for torn in list(self._folder.glob(".*.tmp")):
            with contextlib.suppress(OSError):
                torn.unlink()
        paths = sorted(path for path in self._folder.glob("*.json") if path.stem.isdecimal())
        return {path.name: path.stat().st_size for path in paths}

    def put(self, report: bytes) -> str:
        """Keep a report; returns its name. Raises `OSError` when the disk refuses it."""
        name = f"{self._next:012d}.json"
        self._next += 1  # also when it fails: a name that was tried may have reached the disk
        write_sealed(self._folder / name, report)
        self._sizes[name] = len(report)
        self._make_room()
        return name

    def _make_room(self) -> None:
        while len(self._sizes) > 1 and (
            sum(self._sizes.values()) > self._max_bytes or len(self._sizes) > self._max_reports
        ):
            self.remove(next(iter(self._sizes)))
            self.dropped += 1

    def pending(self) -> list[str]:
        """Names of the reports that wait, oldest first."""
        return list(self._sizes)

    def read(self, name: str) -> bytes | None:
        """The report, or None if it cannot be read now, or went to make room. A damaged one is given up and counted."""
        if name not in self._sizes:
            return None
        try:
            report = read_sealed(self._folder / name)
        except DiskError as error:
            if error.code == "damaged_record":
                self._give_up(name)
            return None
        if report is None:
            self._give_up(name)
        return report

    def _give_up(self, name: str) -> None:
        self.dropped += 1
        self.remove(name)

    def remove(self, name: str) -> None:
        """Forget a report, because it was acknowledged. Where the disk refuses, it is sent again after a restart."""
        self._sizes.pop(name, None)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)
