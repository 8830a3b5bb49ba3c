"""Finds the files of a folder, in one order on every machine. Opens none of them.

What systems leave behind (hidden files, Thumbs.db) is no data. Links are followed, each folder is entered once.
"""

import os
from collections.abc import Iterator
from pathlib import Path

LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


def walk(folder: Path) -> list[Path]:
    """All files below `folder`, sorted by their path, without litter. Raises `OSError`."""
    return sorted(_below(folder, set()))


def folders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name, without litter. Raises `OSError`."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_litter(path.name))


def is_litter(name: str) -> bool:
    """Whether a file or folder is none of a person's: hidden, or left behind by a system."""
    return name.startswith(".") or name.lower() in LITTER


def _below(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in entered:  # a link to a folder above it, or to one seen before
        return
    entered.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_litter(entry.name):
                continue
            if entry.is_dir():
                yield from _below(Path(entry.path), entered)
            elif entry.is_file():
                yield Path(entry.path)
