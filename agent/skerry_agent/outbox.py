"""Reports on disk until the broker has acknowledged them. Bounded: the oldest go first, and how many went is counted.

One file a report, named by a running number. A report may be sent twice (a crash between acknowledgement and removal);
whoever ingests drops it by (device, boot, sequence).
"""

from pathlib import Path

from skerry_agent.disk import write_atomic


class Outbox:
    """The folder of reports that wait."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self.dropped = 0
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(".*.tmp"):
            torn.unlink()
        self._sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.json"))}
        self._next = 1 + max((int(name.split(".")[0]) for name in self._sizes), default=0)

    def put(self, report: bytes) -> str:
        """Keep a report; returns its name. Raises `OSError` when the disk refuses it."""
        name = f"{self._next:012d}.json"
        write_atomic(self._folder / name, report)
        self._next += 1
        self._sizes[name] = len(report)
        self._make_room()
        return name

    def _make_room(self) -> None:
        while sum(self._sizes.values()) > self._max_bytes and len(self._sizes) > 1:
            self.remove(next(iter(self._sizes)))
            self.dropped += 1

    def pending(self) -> list[str]:
        """Names of the reports that wait, oldest first."""
        return list(self._sizes)

    def read(self, name: str) -> bytes | None:
        """The report, or None if it is gone."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Forget a report, because it was acknowledged."""
        self._sizes.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)
