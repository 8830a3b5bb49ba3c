"""Files in memory for readers that take a path. No tests here."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def scratch_file(name: str) -> Path:
    """A path in a folder of this process, in memory where the machine has a place for that."""
    return scratch_folder() / name


def scratch_folder() -> Path:
    """A folder that goes when this process ends in an orderly way."""
    root = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=f"skerry-fuzz-{os.getpid()}-", dir=root if root.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
