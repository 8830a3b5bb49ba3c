"""Generic delta tools that `skerry delta bench` measures beside Skerry's own patches, where they are installed.

Each works on paths. Nothing else in Skerry uses them: no release depends on one.
"""

import importlib
import io
import lzma
import mmap
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from skerry_agent.patch import apply
from skerry_host import children
from skerry_host.patch.create import create

Make = Callable[[Path, Path, Path], None]  # old, new, patch
Apply = Callable[[Path, Path, Path], None]  # old, patch, new


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: how it makes a patch and applies one. `module` or `command` is what must be installed."""

    name: str
    make: Make
    apply: Apply
    module: str = ""
    command: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        if self.command:
            return shutil.which(self.command) is not None
        return not self.module or find_spec(self.module) is not None


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], env=children.environment(), check=True, capture_output=True)


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _skerry_make(old: Path, new: Path, patch: Path) -> None:
    patch.write_bytes(create(old.read_bytes(), new.read_bytes()).data)


def _skerry_apply(old: Path, patch: Path, new: Path) -> None:
    with new.open("wb") as out:
        apply(_mapped(old), memoryview(_mapped(patch)), out.write, max_new_bytes=1 << 32)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _bsdiff4_make(old: Path, new: Path, patch: Path) -> None:
    patch.write_bytes(_module("bsdiff4").diff(old.read_bytes(), new.read_bytes()))


def _bsdiff4_apply(old: Path, patch: Path, new: Path) -> None:
    new.write_bytes(_module("bsdiff4").patch(old.read_bytes(), patch.read_bytes()))


def _detools_make(old: Path, new: Path, patch: Path) -> None:
    made = io.BytesIO()
    _module("detools").create_patch(io.BytesIO(old.read_bytes()), io.BytesIO(new.read_bytes()), made)
    patch.write_bytes(made.getvalue())


def _detools_apply(old: Path, patch: Path, new: Path) -> None:
    with old.open("rb") as source, patch.open("rb") as delta, new.open("wb") as out:
        _module("detools").apply_patch(source, delta, out)


def _hdiffpatch_make(old: Path, new: Path, patch: Path) -> None:
    module = _module("hdiffpatch")
    methods = (module.COMPRESSION_LZMA2, module.COMPRESSION_LZMA, module.COMPRESSION_ZSTD, module.COMPRESSION_BZIP2)
    before, after = old.read_bytes(), new.read_bytes()
    patch.write_bytes(min((module.diff(before, after, compression=method) for method in methods), key=len))


def _hdiffpatch_apply(old: Path, patch: Path, new: Path) -> None:
    new.write_bytes(_module("hdiffpatch").apply(old.read_bytes(), patch.read_bytes()))


def _zstd_make(old: Path, new: Path, patch: Path) -> None:
    _run("zstd", "-19", "--long=27", "-q", "-f", f"--patch-from={old}", new, "-o", patch)


def _zstd_apply(old: Path, patch: Path, new: Path) -> None:
    _run("zstd", "-d", "--long=27", "-q", "-f", f"--patch-from={old}", patch, "-o", new)


def _xdelta3_make(old: Path, new: Path, patch: Path) -> None:
    _run("xdelta3", "-9", "-e", "-f", "-s", old, new, patch)


def _xdelta3_apply(old: Path, patch: Path, new: Path) -> None:
    _run("xdelta3", "-d", "-f", "-s", old, patch, new)


def _xz_make(old: Path, new: Path, patch: Path) -> None:
    del old
    patch.write_bytes(lzma.compress(new.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


def _xz_apply(old: Path, patch: Path, new: Path) -> None:
    del old
    new.write_bytes(lzma.decompress(patch.read_bytes()))


SKERRY = Peer("skerry", _skerry_make, _skerry_apply)
PEERS = (
    SKERRY,
    Peer("bsdiff4", _bsdiff4_make, _bsdiff4_apply, module="bsdiff4"),
    Peer("xdelta3", _xdelta3_make, _xdelta3_apply, command="xdelta3"),
    Peer("zstd", _zstd_make, _zstd_apply, command="zstd"),
    Peer("hdiffpatch", _hdiffpatch_make, _hdiffpatch_apply, module="hdiffpatch"),
    Peer("detools", _detools_make, _detools_apply, module="detools"),
    Peer("xz_full", _xz_make, _xz_apply),
)
GENERIC = ("bsdiff4", "xdelta3", "zstd", "hdiffpatch", "detools")
