"""Files in memory for readers that take a path. No tests here."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_parents: list[Path] = []


@contextmanager
def scratch_files_removed() -> Iterator[None]:
    """Within it, scratch folders are in one that is removed afterwards, also those of children that die."""
    parent = _made(_MEMORY)
    _parents.append(parent)
    try:
        yield
    finally:
        _parents.pop()
        shutil.rmtree(parent, ignore_errors=True)


def scratch_file(name: str) -> Path:
    """A path in a folder of its own, in memory where the machine has a place for that."""
    return scratch_folder() / name


def scratch_folder() -> Path:
    """A folder that goes with `scratch_files_removed`, or when this process ends."""
    folder = _made(_parents[-1] if _parents else _MEMORY)
    if not _parents:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _made(root: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"skerry-fuzz-{os.getpid()}-", dir=root if root.is_dir() else None))
