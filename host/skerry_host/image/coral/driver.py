"""A libedgetpu that a board is given, as a Debian package or the library itself: what it is, and what it was built for.

Taken out of a package, because a board without a network cannot install what that depends on. Loads and runs nothing.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from skerry_host.coral_support import BUILT, VENDOR, driver_kind, tflite_of
from skerry_host.image.coral.archives import DAMAGED, read_to_its_end
from skerry_host.image.coral.elf import names, read_elf
from skerry_host.image.errors import ImageError

MOST_BYTES = 64 * 2**20
_AR, _AR_HEADER = b"!<arch>\n", 60
_SYMBOLS = ("edgetpu_version", "tflite_plugin_create_delegate")
_LIBRARY = re.compile(r"(?:\./)?(?:usr/)?lib/[^/]+/libedgetpu\.so\.1\.0")
VENDORS_COMPILER = b"6.3.0 20170516"
"""In the version line of the vendor's builds (github.com/google-coral/edgetpu issue 660), so in their file."""
HINT = "take libedgetpu1-std as a .deb, or its libedgetpu.so.1.0, for the board's machine"


@dataclass(frozen=True, slots=True)
class DriverFile:
    """`library` is the shared library. `version` and `tflite` are empty where the file does not say them."""

    name: str
    library: bytes
    machine: str
    glibc: str
    version: str = ""
    tflite: str = ""

    @property
    def sha256(self) -> str:
        """Of the library."""
        return hashlib.sha256(self.library).hexdigest()

    @property
    def kind(self) -> str:
        """As the table of what works names it."""
        if VENDORS_COMPILER in self.library:
            return VENDOR
        return driver_kind(self.version, self.tflite) if self.version or self.tflite else BUILT

    @property
    def title(self) -> str:
        """For people."""
        built = f", built for TensorFlow {self.tflite}" if self.tflite else ""
        whose = "the vendor's " if self.kind == VENDOR else ""
        return f"{whose}libedgetpu {self.version or f'of {self.name}'}{built}"


def read_driver(path: Path, machine: str) -> DriverFile:
    """Raises `ImageError` in one line for anything else than a libedgetpu for that machine."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(path, f"it has {path.stat().st_size // 2**20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, str(error.strerror or error)) from None
    try:
        version, library = _package(data) if data.startswith(_AR) else ("", data)
    except (*DAMAGED, OSError) as error:
        raise _refused(path, f"a damaged package: {error}") from None
    elf = read_elf(library)
    if elf is None or not all(names(library, symbol) for symbol in _SYMBOLS):
        raise _refused(path, "it holds no libedgetpu.so.1")
    if elf.machine != machine:
        raise _refused(path, f"it is for {elf.machine}, the board is {machine}")
    tflite = tflite_of(version) or tflite_of(path.name)
    return DriverFile(path.name, library, elf.machine, elf.glibc, version, tflite)


def _package(data: bytes) -> tuple[str, bytes]:
    """(version, library) of a Debian package of libedgetpu."""
    parts = {name.partition(".tar")[0]: (name, content) for name, content in _members(data)}
    fields: dict[str, str] = {}
    with _tar(*parts.get("control", ("", b""))) as control:
        for member in control.getmembers():
            file = control.extractfile(member) if member.name.lstrip("./") == "control" else None
            if file is not None:
                text = file.read().decode("utf-8", "replace")
                fields = dict(line.split(": ", 1) for line in text.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
    if not fields.get("Package", "").startswith("libedgetpu1"):
        raise ValueError(f"it is the package {fields.get('Package', 'of no name')!r}")
    with _tar(*parts.get("data", ("", b""))) as content:
        found = next((m for m in content.getmembers() if m.isfile() and _LIBRARY.fullmatch(m.name)), None)
        file = content.extractfile(found) if found is not None and found.size <= MOST_BYTES else None
        library = file.read() if file is not None else b""
        read_to_its_end(content)
        return re.sub(r"[^\w.+:~-]", "", fields.get("Version", ""), flags=re.ASCII)[:64], library


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each member of an ar archive (deb(5))."""
    at = len(_AR)
    while at + _AR_HEADER <= len(data):
        header = data[at : at + _AR_HEADER]
        size = int(header[48:58])
        yield header[:16].decode("ascii").strip().rstrip("/"), data[at + _AR_HEADER : at + _AR_HEADER + size]
        at += _AR_HEADER + size + size % 2


def _tar(name: str, content: bytes) -> tarfile.TarFile:
    """A member as a tar; Debian's are compressed by gzip, xz or zstd."""
    if name.endswith(".zst"):
        with zstandard.ZstdDecompressor().stream_reader(content) as stream:
            content = stream.read(4 * MOST_BYTES)
    return tarfile.open(fileobj=io.BytesIO(content))


def _refused(path: Path, why: str) -> ImageError:
    return ImageError(f"{path.name} is no libedgetpu for this board: {why}", hint=HINT, code="libedgetpu")
