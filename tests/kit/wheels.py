"""Small wheels and wheelhouses, as a build backend and the host make them, and their mistakes. No tests."""

import base64
import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from skerry_agent.state.runtimes import PLACE
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.runtimes import REQUIREMENTS, Kind, RuntimeManifest, Wheelhouse
from skerry_agent.wire.wheel_names import normalised

SIGILL_FOR_REAL = """
import ctypes, mmap, platform
code = {"x86_64": bytes.fromhex("0f0b"), "aarch64": bytes(4)}[platform.machine()]
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
"""A module that executes an instruction that no processor has."""

BEFORE_ALL = (1980, 1, 1, 0, 0, 0)


@dataclass
class Wheel:
    """A pure wheel of a module `tiny`, say. `files` are by their path in it; `needs` are its Requires-Dist."""

    name: str = "tiny"
    version: str = "1.0"
    files: dict[str, str] = field(default_factory=lambda: {"tiny.py": "ANSWER = 42\n"})
    tag: str = "py3-none-any"
    needs: tuple[str, ...] = ()
    record: str | None = None

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    @property
    def data(self) -> bytes:
        """The file."""
        info = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        needs = "".join(f"Requires-Dist: {need}\n" for need in self.needs)
        tags = "".join(f"Tag: {self.tag}\n")
        files = {
            **self.files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n{needs}",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n{tags}",
        }
        listed = "".join(f"{name},{_hash(text.encode())},{len(text.encode())}\n" for name, text in files.items())
        files[f"{info}/RECORD"] = self.record if self.record is not None else f"{listed}{info}/RECORD,,\n"
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name, BEFORE_ALL), text)
        return buffer.getvalue()


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def requirements(*wheels: Wheel) -> str:
    """A line for each wheel, with its hash."""
    return "".join(f"{w.name}=={w.version} --hash=sha256:{hashlib.sha256(w.data).hexdigest()}\n" for w in wheels)


def write_wheels(folder: Path, *wheels: Wheel) -> Path:
    """A wheelhouse as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        (folder / wheel.file).write_bytes(wheel.data)
    (folder / REQUIREMENTS).write_text(requirements(*wheels))
    return folder


def tar_of(files: dict[str, bytes]) -> bytes:
    """A wheelhouse as it travels."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def wheelhouse_tar(*wheels: Wheel) -> bytes:
    """The tar of these wheels and what pins them."""
    return tar_of({REQUIREMENTS: requirements(*wheels).encode(), **{wheel.file: wheel.data for wheel in wheels}})


def wheelhouse_of(tar: bytes, *wheels: Wheel, **fields: object) -> Wheelhouse:
    """What a manifest says of that tar, for this machine and Python."""
    distributions = {normalised(wheel.name): wheel.version for wheel in wheels}
    imports = tuple(wheel.name.replace("-", "_") for wheel in wheels)
    known = {"machine": PLACE.machine, "python": PLACE.python, "installed_bytes": 10_000, "imports": imports}
    return Wheelhouse(artifact=describe(tar), distributions=distributions, **{**known, **fields})


def manifest_of(
    *wheelhouses: Wheelhouse, name: str = "tiny", version: str = "1.0.0", kind: Kind = "runtime"
) -> RuntimeManifest:
    """A release of them."""
    return RuntimeManifest(kind, name, version, "2026-11-30T00:00:00Z", wheelhouses)
