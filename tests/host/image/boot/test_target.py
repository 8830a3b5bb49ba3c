"""An image folder in a boot partition: what the board finds there, and cards that stay as they were."""

import hashlib
import os
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_host.image.boot import boot_target
from skerry_host.image.errors import BootError
from skerry_host.image.parts import image_files
from tests.kit.cards import MB, START, card, extracted, filesystem
from tests.kit.images import request, wheel

BOOKWORM = {"cmdline.txt": b"console=tty1 root=PARTUUID=1-02 rootwait init=/usr/lib/firstboot\n", "config.txt": b"x"}
TRIXIE = {
    "cmdline.txt": b"root=PARTUUID=1-02\n",
    "user-data": b"#cloud-config\nssh_pwauth: false\n",
    "meta-data": b"dsmode: local\n",
}


def put(path, files=None):
    files = image_files(request()) if files is None else files
    with boot_target(path) as target:
        said = target.put(files)
        target.keep()
    return said, files


def checked(folder):
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(params=["image", "folder"])
def partition(request, tmp_path):
    """(make, look): the same tests for an image file and for a folder where one is mounted."""

    def make(files):
        if request.param == "image":
            return card(tmp_path / "card.img", files)
        (tmp_path / "boot").mkdir()
        for name, content in files.items():
            (tmp_path / "boot" / name).write_bytes(content)
        return tmp_path / "boot"

    def look(path, name="seen"):
        return extracted(path, tmp_path / name) if request.param == "image" else path

    return make, look


def test_raspberry_pi_os_bookworm_runs_it_by_its_command_line(partition):
    make, look = partition
    path = make(BOOKWORM)
    said, files = put(path)
    assert "command line" in said
    seen = look(path)
    assert checked(seen / "skerry")
    assert {str(each.relative_to(seen / "skerry")) for each in (seen / "skerry").rglob("*") if each.is_file()} == {
        file.path for file in files
    }
    line = (seen / "cmdline.txt").read_text()
    before = BOOKWORM["cmdline.txt"].decode().strip()
    assert line.startswith(f"{before} systemd.run=/boot/firmware/skerry/first-boot.sh ")
    assert line.count("\n") == 1
    assert (seen / "config.txt").read_bytes() == b"x"
    assert not (seen / "user-data").exists()


def test_what_somebody_has_said_to_cloud_init_stays_and_ours_runs_beside_it(partition):
    make, look = partition
    path = make(TRIXIE)
    assert "vendor-data" in put(path)[0]
    seen = look(path)
    assert {name: (seen / name).read_bytes() for name in TRIXIE} == TRIXIE
    assert (seen / "vendor-data").read_text().startswith("#!/bin/sh\n")


def test_an_empty_partition_becomes_a_seed_of_its_own(partition):
    make, look = partition
    path = make({})
    assert "CIDATA" in put(path)[0]
    seen = look(path)
    assert (seen / "user-data").read_text().startswith("#cloud-config\n")
    assert "instance-id: skerry-" in (seen / "meta-data").read_text()
    assert not (seen / "network-config").exists(), "cloud-init takes the port that is connected"


def test_another_image_takes_the_place_of_the_one_before(partition):
    make, look = partition
    path = make(BOOKWORM)
    put(path)
    first = look(path, "first")
    line = (first / "cmdline.txt").read_bytes()
    put(path, image_files(request(wheels=(wheel("pip-27.0-py3-none-any.whl"),))))
    seen = look(path, "second")
    assert (seen / "cmdline.txt").read_bytes() == line, "said once"
    assert [each.name for each in (seen / "skerry" / "wheels").glob("*.whl")] == ["pip-27.0-py3-none-any.whl"]
    assert checked(seen / "skerry")


def test_another_device_takes_the_place_of_the_one_before_on_a_seed_of_its_own(partition):
    """With the meta-data of before, cloud-init would take it for the same instance, under the old name."""
    make, look = partition
    path = make({})
    put(path)
    assert "CIDATA" in put(path, image_files(request(device="edge-2", claim="@claim-2")))[0]
    seen = look(path)
    assert "local-hostname: edge-2\n" in (seen / "meta-data").read_text()
    assert not (seen / "vendor-data").exists()


def test_a_file_is_somebodys_in_whatever_letters_its_name_is_written(tmp_path):
    """FAT knows one file by either: ours would take its place."""
    path = card(tmp_path / "card.img", {"USER-DATA": b"#cloud-config\nssh_pwauth: false\n"})
    assert "vendor-data" in put(path)[0]
    assert (extracted(path, tmp_path / "seen") / "USER-DATA").read_bytes() == b"#cloud-config\nssh_pwauth: false\n"


def test_a_link_to_an_image_file_leads_to_what_was_written(tmp_path):
    path = card(tmp_path / "card.img", BOOKWORM)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.img"
    link.symlink_to(path)
    put(link)
    assert link.is_symlink()
    assert checked(extracted(path, tmp_path / "seen") / "skerry")


def test_a_file_system_without_a_partition_table_is_a_stick_for_cloud_init(tmp_path):
    path = filesystem(tmp_path / "seed.img", {})
    put(path)
    assert checked(extracted(path, tmp_path / "seen", 0) / "skerry")


def test_what_lies_behind_the_partition_stays(tmp_path):
    path = card(tmp_path / "card.img", BOOKWORM)
    with path.open("r+b") as file:
        file.seek(START + 41 * MB)
        file.write(b"the root file system")
    mode = path.stat().st_mode
    put(path)
    data = path.read_bytes()
    assert data[START + 41 * MB :].startswith(b"the root file system")
    assert (path.stat().st_mode, len(data)) == (mode, START + 44 * MB)
    assert [each.name for each in tmp_path.iterdir()] == ["card.img"], "no copy is left"


def gpt(path):
    with path.open("r+b") as file:
        file.seek(446 + 4)
        file.write(b"\xee")


def cut_off(path):
    os.truncate(path, START + 10 * MB)


def other_file_system(path):
    with path.open("r+b") as file:
        file.seek(START)
        file.write(b"\0" * 512)


def no_table(path):
    path.write_bytes(os.urandom(510) + b"xx" + b"\0" * MB)


def packed(path):
    path.write_bytes(b"\xfd7zXZ\0" + bytes(1000))


def only_linux(path):
    with path.open("r+b") as file:
        file.seek(446 + 4)
        file.write(b"\x83")


def damaged_fat(path):
    with path.open("r+b") as file:
        file.seek(START + 11)
        file.write(struct.pack("<H", 7))  # bytes a sector


NO_IMAGES = {
    "a GPT": (gpt, "has a GPT"),
    "cut off": (cut_off, "is cut off"),
    "another file system": (other_file_system, "holds no FAT file system"),
    "no partition table": (no_table, "is no image of a card"),
    "packed": (packed, "is packed (xz)"),
    "empty": (lambda path: path.write_bytes(b""), "is no image of a card"),
    "no FAT partition": (only_linux, "no FAT partition"),
    "a FAT file system that is damaged": (damaged_fat, "cannot be used"),
}


@pytest.mark.parametrize(("spoil", "why"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_an_image_that_is_none_stays_as_it_was(tmp_path, spoil, why):
    path = card(tmp_path / "card.img", BOOKWORM)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(BootError) as error:
        put(path)
    assert why in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["card.img"]


def test_an_image_that_is_full_stays_as_it_was(tmp_path):
    path = card(tmp_path / "card.img", BOOKWORM | {"big": os.urandom(38 * MB)})
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(BootError, match=r"has room for \d MB, \d+ MB are needed") as error:
        put(path, image_files(request(wheels=(wheel("pip-26.3-py3-none-any.whl", os.urandom(3 * MB)),))))
    assert error.value.code == "full"
    assert hashlib.sha256(path.read_bytes()).digest() == before


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({"cmdline.txt": b"one\ntwo\n"}, "is not one line"),
        ({"cmdline.txt": b""}, "is not one line"),
        ({"meta-data": b"", "vendor-data": b"#!/bin/sh\nsomebody's\n"}, "somebody else's"),
    ],
)
def test_files_that_are_in_the_way_are_left(partition, there, why):
    make, look = partition
    path = make(there)
    with pytest.raises(BootError, match=why):
        put(path)
    seen = look(path)
    assert {each.name: each.read_bytes() for each in seen.iterdir()} == there


def test_what_is_neither_a_folder_nor_a_file_is_refused():
    with pytest.raises(BootError, match="neither a folder nor an image file"):
        put(Path("/dev/null"))


def test_no_room_for_the_copy_is_one_line_and_leaves_none(tmp_path):
    path = card(tmp_path / "card.img", BOOKWORM)
    code = (
        "import pathlib, sys\nfrom skerry_host.image.boot.target import BootError, boot_target\n"
        "try:\n    with boot_target(pathlib.Path(sys.argv[1])): pass\nexcept BootError as error: print(error)"
    )

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MB, MB))

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, preexec_fn=small_files
    )
    assert "no room beside" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["card.img"]


def test_a_folder_is_as_it_was_where_something_fails_before_the_end(tmp_path):
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "cmdline.txt").write_bytes(BOOKWORM["cmdline.txt"])
    with boot_target(boot) as target:
        target.put(image_files(request()))
    assert [each.name for each in boot.iterdir()] == ["cmdline.txt"]
    assert (boot / "cmdline.txt").read_bytes() == BOOKWORM["cmdline.txt"]
    shutil.rmtree(boot)
