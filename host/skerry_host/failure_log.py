"""Keeps what a failed command or converter said in a file of its own, for the last few failures, and says where.

The files are in the folder for temporary files, of mode 0600. Prints nothing.
"""

import contextlib
import os
import tempfile
import traceback
from pathlib import Path

from skerry_agent.wire.errors import SkerryError

PREFIX, SUFFIX = "skerry-failure-", ".log"
KEPT = 10
"""How many of a kind are kept."""


def keep(text: str, prefix: str = PREFIX) -> str:
    """Write a text to a new file; its path, or empty where nothing can be written."""
    try:
        _forget(Path(tempfile.gettempdir()), prefix, KEPT - 1)
        with tempfile.NamedTemporaryFile(
            "w", prefix=prefix, suffix=SUFFIX, delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
    except OSError:
        return ""
    return file.name


def unexpected(error: BaseException, doing: str) -> SkerryError:
    """What to say of an exception that nobody foresaw: its own last line, and where all of it is kept."""
    path = keep("".join(traceback.format_exception(error)))
    kept = f"the whole traceback is in {path}" if path else "its traceback could not be kept: no space for it"
    if isinstance(error, MemoryError):
        return SkerryError(f"{doing} needs more memory than this machine has left", hint=kept, code="memory")
    said = " ".join(str(error).split())[:300]
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return SkerryError(f"{doing} failed unexpectedly: {line}", hint=kept, code="internal")


def _forget(folder: Path, prefix: str, kept: int) -> None:
    """Delete all but the newest of this user's files; another process may be at it, too."""
    found = []
    for path in folder.glob(f"{prefix}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            status = path.stat()
            if status.st_uid == os.getuid():
                found.append((status.st_mtime, path))
    for _when, path in sorted(found)[: max(0, len(found) - kept)]:
        path.unlink(missing_ok=True)
