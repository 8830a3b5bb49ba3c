"""An archive is an interpreter for this board, or it is refused in one line before anything is written."""

import gzip
import lzma
import os
import tarfile

import pytest

from skerry_host.image.coral.interpreter import read_interpreter
from skerry_host.image.errors import ImageError
from tests.kit.coral_files import add, elf, interpreter


def test_an_archive_says_its_version_its_machine_and_what_it_needs(tmp_path):
    library = {"python/lib/libpython3.12.so.1.0": elf(glibc="2.28")}
    found = read_interpreter(interpreter(tmp_path / "cpython.tar.gz", version="3.12", patch="4", **library), "aarch64")
    assert (found.python, found.version, found.machine, found.glibc) == ("3.12", "3.12.4", "aarch64", "2.28")
    assert found.program == "python/bin/python3.12"
    assert len(found.sha256) == 64


WRONG = {
    "for x86_64, the board is aarch64": {"program": elf("x86_64")},
    "for musl": {"program": elf(words=b"/lib/ld-musl-aarch64.so.1")},
    "is no program for Linux": {"program": b"MZ\x90 a program of another system"},
    "it is Python 3.9": {"version": "3.9"},
    "it is Python 3.14": {"version": "3.14"},
    "no lib/python3.11/venv": {"leave_out": ("python/lib/python3.11/venv/__init__.py",)},
    "no bin/python3.X": {"leave_out": ("python/bin/python3.11",)},
    "'../evil' leads out": {"../evil": b"x"},
    "'/etc/passwd' leads out": {"/etc/passwd": b"x"},
}


@pytest.mark.parametrize("why", WRONG)
def test_anything_else_is_refused_in_one_line_that_says_why(tmp_path, why):
    path = interpreter(tmp_path / "cpython.tar.gz", **WRONG[why])
    with pytest.raises(ImageError, match=r"cpython\.tar\.gz is no interpreter for this board") as refused:
        read_interpreter(path, "aarch64")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "install_only" in refused.value.hint


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_an_archive_that_is_damaged_in_its_middle_is_refused(tmp_path, pack):
    path = interpreter(tmp_path / "python.tar.gz", **{"python/lib/big": os.urandom(100_000)})
    packed = bytearray(pack(gzip.decompress(path.read_bytes())))
    packed[50_000] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(ImageError, match=r"python\.tar\.gz is no interpreter"):
        read_interpreter(path, "aarch64")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08 cut off"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "python.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"python\.tar\.gz is no interpreter"):
        read_interpreter(path, "aarch64")


@pytest.mark.parametrize("link", ["../../../etc/passwd", "/etc/passwd"])
def test_links_do_not_lead_out(tmp_path, link):
    path = tmp_path / "python.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "python/bin/python3.11", elf())
        entry = tarfile.TarInfo("python/lib/evil")
        entry.type, entry.linkname = tarfile.SYMTYPE, link
        archive.addfile(entry)
    with pytest.raises(ImageError, match="leads out of it"):
        read_interpreter(path, "aarch64")


@pytest.mark.parametrize("link", ["nothing", "python3.11", "python3"])
def test_a_program_that_is_a_link_to_nothing_or_to_itself_is_refused(tmp_path, link):
    path = tmp_path / "python.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "python/lib/python3.11/venv/__init__.py", b"")
        for name, target in (("python3.11", link), ("python3", "python3.11")):
            entry = tarfile.TarInfo(f"python/bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    with pytest.raises(ImageError, match=r"python\.tar is no interpreter"):
        read_interpreter(path, "aarch64")


@pytest.mark.parametrize("top", ["py'thon", "py thon", "py\nthon", "$(reboot)"])
def test_a_folder_whose_name_a_shell_would_read_otherwise_is_refused(tmp_path, top):
    """The board's shell reads it, as root."""
    path = tmp_path / "python.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, f"{top}/bin/python3.11", elf())
        add(archive, f"{top}/lib/python3.11/venv/__init__.py", b"")
    with pytest.raises(ImageError, match="a plain name"):
        read_interpreter(path, "aarch64")
