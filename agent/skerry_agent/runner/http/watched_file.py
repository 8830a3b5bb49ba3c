"""A file that somebody may replace while it is in use. Reads nothing."""

from pathlib import Path


class WatchedFile:
    """Tells once of each change, of the first look as well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()

    def changed(self) -> bool:
        """Whether it is another one than at the last look; one that is not there is another each time."""
        try:
            found = self.path.stat()
        except OSError:
            self._seen = ()
            return True
        now = (found.st_ino, found.st_mtime_ns, found.st_size)
        changed, self._seen = now != self._seen, now
        return changed
