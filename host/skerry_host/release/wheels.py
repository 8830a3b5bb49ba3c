"""Reads a wheel and finds everything that is wrong with it, before it is signed. Installs and changes nothing.

A device installs it with pip, which checks less and says less: so names that lead out of the folder, files that RECORD
does not have, code for another processor under a name for this one, and modules that would come before Python's own or
the agent's, are found here.
"""

import base64
import csv
import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from skerry_agent.wire.hidden_modules import before_python, modules_of
from skerry_agent.wire.wheel_names import WheelName, normalised, parse_wheel_name

MAX_UNPACKED_BYTES = 1 << 30
MAX_ENTRIES = 50_000
BLOCK = 4096
ELF_MACHINES = {62: "x86_64", 183: "aarch64", 40: "armv7l", 3: "i686", 243: "riscv64"}
"""e_machine of elf(5), by which the kernel tells whose code a file is."""
NO_ZIP = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, csv.Error),
    *(NotImplementedError, RuntimeError, EOFError, ValueError, KeyError, OverflowError, OSError),
)
"""What `zipfile` raises for a damaged archive: it seeks to before the beginning, and asks for other methods."""
_SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")


@dataclass(frozen=True)
class Wheel:
    """What a wheel says and holds. `modules` are its top-level ones, `machines` those of the code in it."""

    path: Path
    name: WheelName
    sha256: str
    requires: tuple[Requirement, ...]
    python: str
    modules: tuple[str, ...]
    machines: frozenset[str]
    installed_bytes: int
    issues: tuple[str, ...]

    @property
    def distribution(self) -> str:
        """Its normalised name."""
        return self.name.distribution


def read_wheel(path: Path) -> Wheel | str:
    """The wheel with all of its issues; only a line where it is none. Raises `OSError`."""
    name = parse_wheel_name(path.name)
    if name is None:
        return f"{path.name}: this is no wheel's name (NAME-VERSION-PYTHON-ABI-PLATFORM.whl)"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unsafe = [f"{path.name}: {issue}" for issue in _unsafe(entries)]
            if unsafe:
                return unsafe[0]
            return _read(path, name, archive)
    except NO_ZIP as error:
        return f"{path.name} is no whole wheel: {' '.join(str(error).split())[:200]}"


def _unsafe(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    """What makes it unsafe even to read: names out of its folder, links, the same name twice, a bomb."""
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        yield f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB or {MAX_ENTRIES} files"
    seen: set[str] = set()
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        if "\\" in entry.filename or entry.filename.startswith("/") or ".." in parts or not parts:
            yield f"{entry.filename[:80]!r} leads out of its folder"
        elif stat.S_ISLNK(entry.external_attr >> 16):
            yield f"{entry.filename[:80]!r} is a link"
        elif entry.filename in seen:
            yield f"{entry.filename[:80]!r} is in it twice"
        seen.add(entry.filename)


def _read(path: Path, name: WheelName, archive: zipfile.ZipFile) -> Wheel:
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    info = _info_folder(files, name)
    metadata = BytesParser().parsebytes(archive.read(f"{info}/METADATA"))
    archive.getinfo(f"{info}/WHEEL")
    requires, bad = _requirements(metadata.get_all("Requires-Dist") or [])
    modules = tuple(sorted(modules_of(entry.filename for entry in files)))
    issues = [
        *_differing(metadata.get("Name", ""), metadata.get("Version", ""), name),
        *_record_issues(archive, files, info),
        *bad,
        *(f"its module {module} would come before Python's own" for module in before_python(modules)),
    ]
    return Wheel(
        path=path,
        name=name,
        sha256=_sha256(path),
        requires=requires,
        python=metadata.get("Requires-Python", ""),
        modules=modules,
        machines=_machines(archive, files),
        installed_bytes=_installed_bytes(files),
        issues=tuple(f"{path.name}: {issue}" for issue in issues),
    )


def _info_folder(files: list[zipfile.ZipInfo], name: WheelName) -> str:
    """Its one .dist-info. Raises `ValueError`."""
    found = {entry.filename.split("/")[0] for entry in files if entry.filename.split("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} folders .dist-info, not one")
    folder = found.pop()
    distribution, _, version = folder.removesuffix(".dist-info").rpartition("-")
    if normalised(distribution) != name.distribution or not _same_version(version, name.version):
        raise ValueError(f"its name says {name.distribution} {name.version}, and it holds {folder}")
    return folder


def _differing(name: str, version: str, file: WheelName) -> Iterator[str]:
    if normalised(name) != file.distribution or not _same_version(version, file.version):
        yield f"its METADATA is of {name} {version}"


def _same_version(one: str, other: str) -> bool:
    """Written the one way or the other: `1.0+cpu` is `1.0_cpu` in a file's name."""
    try:
        return Version(one.replace("_", "+", 1) if "+" not in one else one) == Version(
            other.replace("_", "+", 1) if "+" not in other else other
        )
    except InvalidVersion:
        return one == other


def _record_issues(archive: zipfile.ZipFile, files: list[zipfile.ZipInfo], info: str) -> Iterator[str]:
    """Every file is in RECORD with its hash, and nothing else is. Reads all of it."""
    rows = csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode("utf-8")))
    listed = {row[0]: row[1] for row in rows if len(row) == 3}
    own = {f"{info}/{name}" for name in _SIGNATURES}
    names = {entry.filename for entry in files} - own
    for missing in sorted(listed.keys() - names - own):
        yield f"its RECORD lists {missing[:80]!r}, which is not in it"
    for extra in sorted(names - listed.keys()):
        yield f"its RECORD does not have {extra[:80]!r}"
    for name in sorted(names & listed.keys()):
        if listed[name] != _record_hash(archive, name):
            yield f"{name[:80]!r} does not have the hash that its RECORD says"


def _record_hash(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _requirements(lines: Iterable[str]) -> tuple[tuple[Requirement, ...], list[str]]:
    found, bad = [], []
    for line in lines:
        try:
            found.append(Requirement(line))
        except InvalidRequirement as error:
            bad.append(f"{line[:80]!r} is no requirement: {str(error).splitlines()[0]}")
    return tuple(found), bad


def _machines(archive: zipfile.ZipFile, files: list[zipfile.ZipInfo]) -> frozenset[str]:
    """Whose code it holds, by the headers of its ELF files."""
    found = set()
    for entry in files:
        if ".so" not in entry.filename:
            continue
        with archive.open(entry) as file:
            head = file.read(20)
        if head[:4] == b"\x7fELF" and len(head) == 20:
            (number,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
            found.add(ELF_MACHINES.get(number, f"ELF machine {number}"))
    return frozenset(found)


def _installed_bytes(files: list[zipfile.ZipInfo]) -> int:
    """In blocks of a file system, and a compiled file beside each source."""
    blocks = (-(-entry.file_size // BLOCK) * BLOCK for entry in files)
    compiled = (-(-entry.file_size // BLOCK) * BLOCK for entry in files if entry.filename.endswith(".py"))
    return sum(blocks) + sum(compiled)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
