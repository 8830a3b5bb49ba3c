"""Interpreter archives and libedgetpus that are none, but say what real ones say of themselves. No tests here."""

import gzip
import io
import lzma
import struct
import tarfile
from pathlib import Path

import zstandard

MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7, "armv7l": 0x28}
SYMBOLS = ("edgetpu_version", "tflite_plugin_create_delegate")


def elf(machine="aarch64", glibc="2.17", symbols=(), words=b""):
    """The header of an ELF file, and strings as a linker leaves them."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, MACHINES[machine]) + bytes(44)
    named = b"".join(f"\0{symbol}\0".encode() for symbol in symbols)
    return head + named + (f"\0GLIBC_{glibc}\0".encode() if glibc else b"") + words


def interpreter(path: Path, *, version="3.11", patch="9", program=None, leave_out=(), **added) -> Path:
    """An `install_only` archive of a Python that cannot run, with files added by name."""
    files = {
        f"python/bin/python{version}": elf(glibc="2.17") if program is None else program,
        f"python/lib/python{version}/venv/__init__.py": b"",
        f"python/include/python{version}/patchlevel.h": f'#define PY_VERSION "{version}.{patch}"\n'.encode(),
        **added,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            if name not in leave_out:
                add(archive, name, content)
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, f"python{version}"
        archive.addfile(link)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))


def libedgetpu(machine="aarch64", glibc="2.27", words=b"") -> bytes:
    """The shared library."""
    return elf(machine, glibc, SYMBOLS, words)


def deb(path: Path, version="16.0tf2.16.1-1.bookworm", package="libedgetpu1-std", library=None, compress="xz") -> Path:
    """A Debian package of it."""
    pack = {"xz": lzma.compress, "gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}[compress]
    control = f"Package: {package}\nVersion: {version}\nArchitecture: arm64\nDescription: x\n y: z\n".encode()
    content = libedgetpu() if library is None else library
    parts = {
        "debian-binary": b"2.0\n",
        f"control.tar.{compress}": pack(_tar({"./control": control})),
        f"data.tar.{compress}": pack(_tar({"./usr/lib/aarch64-linux-gnu/libedgetpu.so.1.0": content})),
    }
    path.write_bytes(b"!<arch>\n" + b"".join(_member(name, data) for name, data in parts.items()))
    return path


def _member(name: str, data: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)


def _tar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            add(archive, name, content)
    return made.getvalue()
