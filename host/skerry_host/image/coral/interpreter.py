"""An archive of a Python that a board is given: whether it is one, for which machine, and its version. Unpacks nothing.

As github.com/astral-sh/python-build-standalone publishes them (`install_only`): a tar with one folder, whose
bin/pythonX.Y runs wherever that folder lies.
"""

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skerry_host.image.coral.archives import DAMAGED, read_to_its_end
from skerry_host.image.coral.elf import Elf, read_elf
from skerry_host.image.errors import ImageError
from skerry_host.systems import NEWEST_PYTHON, OLDEST_PYTHON, dotted

MOST_BYTES = 1024**3
"""More than any interpreter unpacks to."""
_BINARY = re.compile(r"(?P<top>[\w.+-]+)/(?:[\w.+-]+/)?bin/python(?P<version>3\.[0-9]{1,2})", re.ASCII)
"""Only folders whose names need no quotes: a shell on the board reads them."""
HINT = "take an `install_only` archive of CPython 3.11 to 3.13 for Linux with glibc (python-build-standalone)"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A checked archive. `program` is the interpreter's path in it; `glibc` is what it needs, if it names one."""

    path: Path
    sha256: str
    machine: str
    python: str
    version: str
    program: str
    unpacked: int
    glibc: str = ""


def read_interpreter(path: Path, machine: str) -> Interpreter:
    """Raises `ImageError` in one line for anything else than an interpreter for that machine."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with tarfile.open(path) as archive:
            found = _read(archive, path, sha256, machine)
            read_to_its_end(archive)
            return found
    except DAMAGED as error:
        raise _refused(path, f"no tar archive: {error}") from None
    except OSError as error:
        raise _refused(path, str(error.strerror or error)) from None


def _read(archive: tarfile.TarFile, path: Path, sha256: str, machine: str) -> Interpreter:
    members = archive.getmembers()
    unsafe = next((member.name for member in members if not _is_safe(member)), None)
    if unsafe is not None:
        raise _refused(path, f"{unsafe!r} leads out of it")
    unpacked = sum(member.size for member in members)
    if unpacked > MOST_BYTES:
        raise _refused(path, f"it would unpack to {unpacked // 2**20} MB")
    programs = {match["version"]: member for member in members if (match := _BINARY.fullmatch(member.name)) is not None}
    if not programs:
        raise _refused(path, "it has no bin/python3.X in a folder with a plain name")
    version, member = max(programs.items(), key=lambda item: dotted(item[0]))
    elf = _elf(archive, member, path)
    if elf.machine != machine:
        raise _refused(path, f"its Python is for {elf.machine}, the board is {machine}")
    if elf.musl:
        raise _refused(path, "its Python is for musl, and the wheels are for glibc")
    if not OLDEST_PYTHON <= dotted(version) <= NEWEST_PYTHON:
        raise _refused(path, f"it is Python {version}, the agent and its wheels are for 3.11 to 3.13")
    top = member.name.removesuffix(f"/bin/python{version}")
    if not any(each.name == f"{top}/lib/python{version}/venv/__init__.py" for each in members):
        raise _refused(path, f"it has no lib/python{version}/venv, so it is not whole")
    whole = _patch_level(archive, top, version) or version
    needs = max((elf.glibc, _library_glibc(archive, top, version)), key=lambda each: dotted(each or "0.0"))
    return Interpreter(path, sha256, machine, version, whole, member.name, unpacked, needs)


def _is_safe(member: tarfile.TarInfo) -> bool:
    """Whether a member stays below the folder that it is unpacked into, and is a file, a folder or a link."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or member.isdev():
        return False
    if not (member.issym() or member.islnk()):
        return True
    target = PurePosixPath(member.linkname)
    where = PurePosixPath() if member.islnk() else name.parent
    depth = 0
    for part in (*where.parts, *target.parts):
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return not target.is_absolute()


def _elf(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Elf:
    file = archive.extractfile(member)
    elf = read_elf(file.read()) if file is not None else None
    if elf is None:
        raise _refused(path, f"{member.name} is no program for Linux")
    return elf


def _library_glibc(archive: tarfile.TarFile, top: str, version: str) -> str:
    """What its shared library needs, where most of it is in there."""
    try:
        file = archive.extractfile(f"{top}/lib/libpython{version}.so.1.0")
    except KeyError:
        return ""
    elf = read_elf(file.read()) if file is not None else None
    return elf.glibc if elf is not None else ""


def _patch_level(archive: tarfile.TarFile, top: str, version: str) -> str:
    """3.11.9, as its own header says."""
    try:
        file = archive.extractfile(f"{top}/include/python{version}/patchlevel.h")
    except KeyError:
        return ""
    found = re.search(rb'#define PY_VERSION\s+"([0-9A-Za-z.+]{1,20})"', file.read() if file is not None else b"")
    return found[1].decode() if found else ""


def _refused(path: Path, why: str) -> ImageError:
    return ImageError(f"{path.name} is no interpreter for this board: {why}", hint=HINT, code="interpreter")
