"""`skerry device provision` for boards with an Edge TPU: nothing is made that would end on the CPU unsaid."""

import json

import pytest

from skerry_agent.config import load
from tests.kit.commands import skerry
from tests.kit.coral_files import deb, elf, interpreter, libedgetpu
from tests.kit.home import make_home

PI = ("--board", "raspberry-pi-4-coral-usb", "--os", "raspberry-pi-os-bookworm")
DEV = ("--board", "coral-dev-board")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("coral") / "home")
    skerry(made, "init")
    return made


def provision(home, tmp_path, *words):
    return skerry(home, "device", "provision", "coral-1", *words, "--out", str(tmp_path / "image"), check=False)


REFUSED = {
    "nothing given": (PI, "would end on the CPU: no libedgetpu comes with it"),
    "both usual systems": (PI[:2], "would end on the CPU"),
    "Mendel as it is": (DEV, "comes with Python 3.7, older than the agent needs"),
    "the vendor's driver": ((*PI, "--libedgetpu", "vendor.deb"), "would crash on the Edge TPU and end on the CPU"),
    "a driver for another machine": ((*PI, "--libedgetpu", "x86.so"), "it is for x86_64, the board is aarch64"),
    "a driver that is none": ((*PI, "--libedgetpu", "none.so"), "is no libedgetpu for this board"),
    "Mendel with the vendor's": ((*DEV, "--python", "python.tar.gz", "--libedgetpu", "vendor.deb"), "would crash"),
    "Mendel without a driver": ((*DEV, "--python", "python.tar.gz"), "would end on the CPU"),
    "an interpreter for another machine": ((*DEV, "--python", "x86.tar.gz"), "for x86_64, the board is aarch64"),
    "an interpreter that is none": ((*DEV, "--python", "none.so"), "is no interpreter for this board"),
    "a driver for a board without one": (("--board", "raspberry-pi-4", "--libedgetpu", "good.deb"), "uses no Edge TPU"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deb(tmp_path / "vendor.deb", version="16.0")
    deb(tmp_path / "good.deb")
    (tmp_path / "x86.so").write_bytes(libedgetpu("x86_64"))
    (tmp_path / "none.so").write_bytes(b"text")
    interpreter(tmp_path / "python.tar.gz")
    interpreter(tmp_path / "x86.tar.gz", program=elf("x86_64"))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("why", REFUSED)
def test_what_would_end_on_the_cpu_is_refused_in_one_line_and_nothing_is_made(home, tmp_path, why):
    words, said = REFUSED[why]
    done = provision(home, tmp_path, *words)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "image").exists()
    assert json.loads(skerry(home, "device", "list", "--json").stdout) == []


def test_whoever_wants_the_cpu_says_so_and_the_board_looks_for_no_accelerator(tmp_path):
    home = make_home(tmp_path / "home")
    skerry(home, "init")
    done = provision(home, tmp_path, *PI[:2], "--cpu-only", "--config-only")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "image/agent.toml").board.targets == ("cpu", "onnx")
    (device,) = json.loads(skerry(home, "device", "list", "--json").stdout)
    assert device["targets"] == ["cpu", "onnx"]


def test_files_for_an_image_need_an_image(home, tmp_path):
    deb(tmp_path / "good.deb")
    words = ("device", "provision", "coral-9", *PI[:2], "--libedgetpu", str(tmp_path / "good.deb"))
    done = skerry(home, *words, check=False)
    assert done.returncode == 2
    assert "--libedgetpu is of an image folder: give --out too" in done.stderr
