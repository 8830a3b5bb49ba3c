"""What an image brings for the Edge TPU, on a staged disk: an interpreter that runs or is refused, and a driver."""

import os
import tarfile
from dataclasses import replace

import pytest

from skerry_host.image.coral.choice import RUNTIMES, Coral
from skerry_host.image.coral.driver import DriverFile
from skerry_host.image.coral.interpreter import Interpreter
from skerry_host.image.folder import write_folder
from skerry_host.image.parts import image_files
from tests.kit.coral_files import add, libedgetpu
from tests.kit.images import FAKE_PYTHON, MACHINE, first_boot, here, request


def board(folder, imports=":", cut=None):
    """An image with an interpreter whose program is a shell script, and with a driver."""
    archive = folder.with_name("python.tar.gz")
    with tarfile.open(archive, "w:gz") as made:
        program = FAKE_PYTHON.format(version="3.11 64", pip=":", imports=imports)
        add(made, "python/bin/python3.11", program.encode())
    if cut is not None:
        archive.write_bytes(archive.read_bytes()[:cut])
    interpreter = Interpreter(archive, "a" * 64, MACHINE, "3.11", "3.11.9", "python/bin/python3.11", 4096)
    driver = DriverFile("libedgetpu.deb", libedgetpu(MACHINE), MACHINE, "2.17", "16.0tf2.16.1-1", "2.16.1")
    plain = request()
    coral = Coral(here(), plain.ordered.systems, RUNTIMES[0], (), interpreter, driver)
    asked = replace(plain, ordered=replace(plain.ordered, coral=coral, interpreter=interpreter))
    write_folder(folder, image_files(asked), folder.with_name("before"))
    return folder


def boot(folder, root):
    """With no other Python on the path."""
    return first_boot(folder, root, PATH=f"{root}/no:{os.environ['PATH']}")


def test_an_interpreter_that_came_with_it_makes_the_environment_and_stays_apart_from_the_systems(tmp_path):
    folder, root = board(tmp_path / "image"), tmp_path / "root"
    done = boot(folder, root)
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "opt/skerry-python-aaaaaaaaaaaaaaaa/python/bin/python3.11").is_file()
    assert (root / "opt/skerry/bin/skerry-agent").exists()
    assert (folder / "coral/python.tar").is_file()


def test_a_driver_that_came_with_it_comes_before_the_systems(tmp_path):
    folder, root = board(tmp_path / "image"), tmp_path / "root"
    done = boot(folder, root)
    assert (root / "opt/skerry-lib/libedgetpu.so.1").read_bytes() == libedgetpu(MACHINE)
    assert (root / "etc/ld.so.conf.d/000-skerry.conf").read_text() == "/opt/skerry-lib\n"
    assert "libedgetpu: " in done.stdout


REFUSED = {
    "does not start here: Illegal instruction": {"imports": "echo Illegal instruction; exit 132;"},
    "cannot be unpacked": {"cut": 40},
}


@pytest.mark.parametrize("why", REFUSED)
def test_an_interpreter_that_does_not_start_is_refused_in_one_line_and_nothing_is_left(tmp_path, why):
    folder, root = board(tmp_path / "image", **REFUSED[why]), tmp_path / "root"
    done = boot(folder, root)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("skerry-first-boot: refused: python: the interpreter of this image ")
    assert why in last
    assert list((root / "opt").glob("skerry*")) == []
    assert not (root / "etc/skerry/agent.toml").exists()


def test_it_may_be_run_again_after_a_cut_of_the_power(tmp_path):
    folder, root = board(tmp_path / "image"), tmp_path / "root"
    left = root / "opt/skerry-python-aaaaaaaaaaaaaaaa"
    left.mkdir(parents=True)
    (left / "half").write_text("of it")
    assert boot(folder, root).returncode == 0
    assert not (left / "half").exists()
