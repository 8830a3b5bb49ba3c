"""Who listens on a TCP port of this machine, as far as the kernel tells. Frees nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A listening process; `command` is its command line."""

    pid: int
    name: str
    command: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def holder(port: int, proc: Path = PROC) -> Holder | None:
    """The process that listens on a port; None where there is none, or where it is another user's."""
    sockets = set(_listening(port, proc))
    if not sockets:
        return None
    for folder in proc.iterdir():
        if folder.name.isdecimal() and _has_one_of(folder, sockets):
            return _described(folder)
    return None


def _listening(port: int, proc: Path) -> Iterator[str]:
    """The inodes of sockets that listen on a port."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _has_one_of(folder: Path, sockets: set[str]) -> bool:
    try:
        return any(_inode(each) in sockets for each in (folder / "fd").iterdir())
    except OSError:  # it has ended, or is another user's
        return False


def _inode(link: Path) -> str:
    """Of a socket; empty for other files, and for one that was closed a moment ago."""
    try:
        text = str(link.readlink())
    except OSError:
        return ""
    return text[8:-1] if text.startswith("socket:[") else ""


def _described(folder: Path) -> Holder | None:
    try:
        words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    name = Path(words[0]).name or "a process"
    return Holder(int(folder.name), name, " ".join(words).strip())
