"""Who listens on a TCP port of this machine, in words for an issue. Reads /proc only; a guess at most, never an error.

Formats: /proc/net/tcp of proc(5): local address and port in hex, state 0A for listening, user, inode.
"""

import contextlib
from pathlib import Path

_LISTENS = "0A"
_PROC = Path("/proc")


def holder_of(port: int, proc: Path = _PROC) -> str:
    """The process, with its number, the user where the process may not be seen, else "another process"."""
    found = _listener(port, proc)
    if found is None:
        return "another process"
    user, inode = found
    return _process(f"socket:[{inode}]", proc) or f"a process of the user with number {user}"


def _listener(port: int, proc: Path) -> tuple[str, str] | None:
    """User and inode of the socket that listens there."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for words in map(str.split, (proc / "net" / table).read_text().splitlines()[1:]):
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    return words[7], words[9]
    return None


def _process(link: str, proc: Path) -> str | None:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if any(str(file.readlink()) == link for file in (folder / "fd").iterdir()):
                    return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
    return None
