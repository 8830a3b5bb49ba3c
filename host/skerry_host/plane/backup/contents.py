"""What a backup holds: its table of contents, which files of a home go in, and which names may come out of one.

The home is taken as it is, except for what is listed in `LEFT_OUT`: a setting that is added later is in the backups of
then without a line here. Reads names only, no content.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from msgspec import Struct

from skerry_host.plane.errors import BackupError

CONTENTS = "backup.json"
REGISTRY = "registry.sqlite"
HOME = "home"
"""In the archive: the first member, the second, and the folder of all others."""

WORKPLACE = ".backup"
"""Where in a home a backup keeps its copy of the registry while it is made."""

LEFT_OUT = (
    REGISTRY,  # its copy is taken apart, in one consistent state
    "registry.sqlite-*",
    "registry.url",  # may name a database that another plane uses by now: `restore --registry` says where it goes
    WORKPLACE,
    "serve.lock",
    "serve.json",  # addresses of a plane that runs elsewhere
    "store/.lock",
    "broker/*.conf",  # made anew at each start
    "broker/*.db",  # what the broker retained: the plane publishes it again
    "broker/*.log",
    "wheels",  # fetched again when a board needs them
    "*/.tmp-*",
    ".tmp-*",
)
"""Patterns of paths in a home, as of `fnmatch`, that are no state or are kept in another way."""


FORMAT = 1
"""Of the archive inside; the seal around it has a version of its own."""


class Contents(Struct, frozen=True, kw_only=True):
    """The table of contents. `created` is seconds since 1970 by the host's clock; `registry` is without a password."""

    format: int = FORMAT
    created: float
    skerry: str
    home: str
    registry: str
    revision: str
    devices: int
    releases: int


def files_of(root: Path) -> Iterator[tuple[str, Path]]:
    """(path in the home, file) of all that a backup holds of a home, beside its registry.

    The store comes last, and in it the objects: a release that has its name by then has all its objects already. Links
    are followed, once each; sockets and the like are left out.
    """
    seen: set[tuple[int, int]] = set()
    for name in sorted(_names(root), key=lambda name: (name == "store", name)):
        below = ("releases", "objects") if name == "store" else ()
        yield from _below(root, PurePosixPath(name), seen, below)


def checked(name: str) -> PurePosixPath:
    """A member's path in the home; raises `BackupError` for one that would lead out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise BackupError(f"the backup has a file of the name {name!r}", hint="nothing was restored", code="format")
    return path


def _below(
    root: Path, path: PurePosixPath, seen: set[tuple[int, int]], order: tuple[str, ...]
) -> Iterator[tuple[str, Path]]:
    if any(fnmatchcase(str(path), pattern) for pattern in LEFT_OUT):
        return
    here = root / path
    if here.is_file():
        yield str(path), here
    elif here.is_dir():
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        for name in sorted(_names(here), key=lambda name: (name in order and order.index(name) + 1, name)):
            yield from _below(root, path / name, seen, ())


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted, not paths
    except FileNotFoundError:  # removed meanwhile
        return []
