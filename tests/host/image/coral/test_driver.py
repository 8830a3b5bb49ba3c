"""A libedgetpu is read out of its package, with its version and the TensorFlow that it was built for; no other file."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.image.coral.driver import read_driver
from skerry_host.image.coral.elf import read_elf
from skerry_host.image.errors import ImageError
from tests.kit.coral_files import deb, elf, libedgetpu


@pytest.mark.parametrize("compress", ["xz", "gz", "zst"])
def test_a_package_of_the_community_says_what_it_was_built_for(tmp_path, compress):
    found = read_driver(deb(tmp_path / "libedgetpu1-std.deb", compress=compress), "aarch64")
    assert (found.version, found.tflite, found.kind) == ("16.0tf2.16.1-1.bookworm", "2.16.1", "TF2.16.1")
    assert found.library == libedgetpu()
    assert found.glibc == "2.27"
    assert "built for TensorFlow 2.16.1" in found.title


def test_the_vendors_is_told_by_its_version_and_alone_by_its_compiler(tmp_path):
    assert read_driver(deb(tmp_path / "a.deb", version="16.0"), "aarch64").kind == "vendor"
    alone = tmp_path / "libedgetpu.so.1.0"
    alone.write_bytes(libedgetpu(words=b"\0BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted\0"))
    assert read_driver(alone, "aarch64").kind == "vendor"


def test_of_a_library_alone_the_name_may_say_what_it_was_built_for(tmp_path):
    alone = tmp_path / "libedgetpu-16.0TF2.17.1.so.1.0"
    alone.write_bytes(libedgetpu())
    assert read_driver(alone, "aarch64").kind == "TF2.17.1"
    (tmp_path / "libedgetpu.so").write_bytes(libedgetpu())
    assert read_driver(tmp_path / "libedgetpu.so", "aarch64").kind == "built"


WRONG = {
    "no libedgetpu.so.1": lambda path: path.write_bytes(elf()),
    "it is for x86_64, the board is aarch64": lambda path: path.write_bytes(libedgetpu("x86_64")),
    "it is the package 'python3'": lambda path: deb(path, package="python3"),
    "it holds no libedgetpu": lambda path: deb(path, library=b"text"),
    "a damaged package": lambda path: path.write_bytes(deb(path).read_bytes()[:200]),
}


@pytest.mark.parametrize("why", WRONG)
def test_anything_else_is_refused_in_one_line_that_says_why(tmp_path, why):
    path = tmp_path / "given.deb"
    WRONG[why](path)
    with pytest.raises(ImageError, match=r"given\.deb is no libedgetpu for this board") as refused:
        read_driver(path, "aarch64")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("compress", ["xz", "gz"])
def test_a_package_that_is_damaged_in_its_middle_is_refused(tmp_path, compress):
    path = deb(tmp_path / "given.deb", library=libedgetpu(words=os.urandom(100_000)), compress=compress)
    packed = bytearray(path.read_bytes())
    packed[50_000:50_032] = bytes(32)
    path.write_bytes(packed)
    with pytest.raises(ImageError, match=r"given\.deb is no libedgetpu for this board"):
        read_driver(path, "aarch64")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "given"
    for content in (data, b"!<arch>\n" + data):
        path.write_bytes(content)
        with pytest.raises(ImageError):
            read_driver(path, "aarch64")
    read_elf(b"\x7fELF" + data)


def test_a_version_is_words_for_a_terminal(tmp_path):
    assert read_driver(deb(tmp_path / "x.deb", version="16.0\x1b[31m'$(x)"), "aarch64").version == "16.031mx"
