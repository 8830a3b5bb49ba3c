"""Telemetry reports on disk until they are removed. Bounded: the oldest are dropped first, and counted.

One checksummed file per report, named by a running number. Knows neither broker nor host:
`supervisor.report_sender` decides when a report may be removed.
"""

import contextlib
from collections import OrderedDict
from pathlib import Path

from skerry_agent.state.disk import DiskError, make_folder, read_sealed, write_sealed

BLOCK_BYTES = 4096
"""On almost every file system a file takes a multiple of this on disk."""


class Outbox:
    """The folder of reports that wait. `max_bytes` is room on the disk."""

    def __init__(self, folder: Path, max_bytes: int, max_reports: int = 10**9) -> None:
        self._folder = folder
        self._max_bytes, self._max_reports = max_bytes, max_reports
        self.dropped = 0
        self._rooms: OrderedDict[str, int] = OrderedDict()
        self._taken = 0
        self._next: int | None = None
        with contextlib.suppress(OSError):  # a disk that cannot be read now may be later
            self._look()

    def limit(self, max_bytes: int, max_reports: int) -> None:
        """Keep so much, from the next report on."""
        self._max_bytes, self._max_reports = max_bytes, max_reports

    def _look(self) -> None:
        """Find what waits from before; what a crash tore is removed.

        Raises `OSError`. Until it has succeeded nothing is put: a report must not take the name of one that waits.
        """
        make_folder(self._folder)
        found = sorted((path for path in self._folder.iterdir() if _is_report(path)), key=_number)
        for path in found:
            self._add(path.name, path.stat().st_size)
        self._next = 1 + max(map(_number, found), default=0)
        for torn in list(self._folder.glob(".*.tmp")):
            with contextlib.suppress(OSError):
                torn.unlink()

    def put(self, report: bytes) -> str:
        """Keep a report; returns its name. Raises `OSError` when the disk refuses it."""
        if self._next is None:
            self._look()
        assert self._next is not None
        name = f"{self._next:012d}.json"
        self._next += 1  # also when it fails: a name that was tried may have reached the disk
        make_folder(self._folder)
        write_sealed(self._folder / name, report)
        self._add(name, len(report))
        self._make_room()
        return name

    def _add(self, name: str, size: int) -> None:
        room = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        self._taken += room - self._rooms.get(name, 0)
        self._rooms[name] = room

    def _make_room(self) -> None:
        while len(self._rooms) > 1 and (self._taken > self._max_bytes or len(self._rooms) > self._max_reports):
            self.remove(next(iter(self._rooms)))
            self.dropped += 1

    def pending(self) -> list[str]:
        """Names of the reports that wait, oldest first."""
        return list(self._rooms)

    def __contains__(self, name: str) -> bool:
        return name in self._rooms

    def read(self, name: str) -> bytes | None:
        """The report, or None if it cannot be read now, or went to make room. A damaged one is given up and counted."""
        if name not in self._rooms:
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
        self._taken -= self._rooms.pop(name, 0)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)


def _is_report(path: Path) -> bool:
    return path.suffix == ".json" and path.stem.isdecimal()


def _number(path: Path) -> int:
    return number_of(path.name)


def number_of(name: str) -> int:
    """The running number in a report's name."""
    return int(name.removesuffix(".json"))
