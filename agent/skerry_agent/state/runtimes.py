"""Runtimes on disk: one immutable folder each, made by the updater, put on the path of a runner, removed when unused.

A folder is named by its manifest's hash and by what it was installed for, so a slot can name it, and another Python
than the one that it was installed for is recognised. Here nothing is installed, and no wheel is read.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from skerry_agent.machine.records import SlotRuntime

RUNTIMES = "runtimes"
MANIFEST_FILE = ".manifest.json"
"""In a runtime's folder: the signed manifest that it was installed by, so that it need not be fetched again."""


class Place(Struct, frozen=True):
    """What wheels must be for: a machine, a CPython's tag, and a glibc, empty where it is not known."""

    machine: str
    python: str
    glibc: str = ""

    @property
    def tag(self) -> str:
        """As in the names of folders."""
        return f"{self.python}-{self.machine}"


def python_tag() -> str:
    """That of this Python, as wheels have it: cp311."""
    short = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    return f"{short}{sys.version_info.major}{sys.version_info.minor}"


def glibc() -> str:
    """Its version; empty where the C library is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def folder_name(manifest_sha256: str, tag: str) -> str:
    """The folder of a runtime or an agent that was installed by a signed manifest, for a place with this tag."""
    return f"{manifest_sha256[:16]}-{tag}"


PLACE = Place(os.uname().machine, python_tag(), glibc())
"""Where this process runs."""


class RuntimeFolders:
    """The folder of runtimes."""

    def __init__(self, root: Path, place: Place = PLACE) -> None:
        self.root, self._place = root, place

    def folder(self, runtime: SlotRuntime) -> Path:
        """Where a slot's runtime lies."""
        return self.root / runtime.folder

    def usable(self, runtime: SlotRuntime | None) -> bool:
        """Whether a runner can be given it: it is there, and for this Python. The base environment's always is.

        So is one that a disk which gives no answer may have: its runner says what is wrong.
        """
        if runtime is None:
            return True
        try:
            return self._place.tag in runtime.folder and self.folder(runtime).is_dir()
        except OSError:
            return True

    def manifest(self, sha256: str) -> Path | None:
        """The signed manifest of that hash, where a runtime was installed by it; else it is fetched."""
        with contextlib.suppress(OSError):
            return next(iter(self.root.glob(f"{folder_name(sha256, '*')}/{MANIFEST_FILE}")), None)
        return None

    def collect(self, keep: Iterable[str]) -> None:
        """Remove every runtime that is not in `keep`, and half-made ones, as far as the disk allows."""
        kept = set(keep)
        with contextlib.suppress(OSError):  # there is none; or what is left is removed the next time
            for path in list(self.root.iterdir()):
                if path.name not in kept:
                    shutil.rmtree(path, ignore_errors=True)
