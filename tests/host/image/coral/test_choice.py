"""A board with an Edge TPU gets what is known to work, or is refused with what to take; unless the CPU is wanted."""

import re

import pytest

from skerry_host.boards import list_boards, load_board
from skerry_host.image.coral.choice import RUNTIMES, CoralFiles, choose, with_interpreter, without_accelerator
from skerry_host.image.errors import ImageError
from skerry_host.image.wheels.choose import extras_of, lock_file
from skerry_host.image.wheels.lock import read_lock
from skerry_host.systems import load_system, usual_systems
from tests.kit.coral_files import deb, elf, interpreter, libedgetpu

PI, DEV = load_board("raspberry-pi-4-coral-usb"), load_board("coral-dev-board")
BOOKWORM, TRIXIE, MENDEL = map(load_system, ("raspberry-pi-os-bookworm", "raspberry-pi-os-trixie", "mendel"))


def refused(board, systems, files):
    with pytest.raises(ImageError) as error:
        choose(board, systems, files)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "board", [b for b in map(load_board, list_boards()) if "edgetpu" in b.targets], ids=lambda b: b.name
)
def test_no_board_with_an_edge_tpu_ends_on_the_cpu_unsaid(board):
    """Every system of the table, with nothing given."""
    for system in usual_systems(board.name):
        said = refused(board, (system,), CoralFiles())
        assert f"board {board.name} on {system.title} would" in said
        assert "take " in said
        assert "--cpu-only" in said


def test_the_vendors_driver_is_refused_with_the_build_to_take(tmp_path):
    said = refused(
        PI, (BOOKWORM,), CoralFiles(libedgetpu=deb(tmp_path / "libedgetpu1-std_16.0_arm64.deb", version="16.0"))
    )
    assert "with the vendor's libedgetpu 16.0 would crash on the Edge TPU and end on the CPU" in said
    assert "take a libedgetpu that was built for TensorFlow 2.15 or 2.16" in said


def test_a_build_that_fits_brings_the_classic_interpreter_that_it_was_reported_with(tmp_path):
    made = choose(PI, (BOOKWORM,), CoralFiles(libedgetpu=deb(tmp_path / "a.deb")))
    assert (made.runtime.extra, [row.verdict for row in made.rows]) == ("coral", ["edgetpu works"])
    assert made.board.runtime.engines["cpu"] == ("tflite_runtime",)
    assert made.board.targets == ("edgetpu", "cpu")
    assert made.uncertain == []


def test_what_nobody_has_reported_is_let_in_and_said(tmp_path):
    made = choose(PI, (TRIXIE,), CoralFiles(libedgetpu=deb(tmp_path / "a.deb", version="16.0tf2.19.1-1.trixie")))
    assert (made.runtime.extra, [row.verdict for row in made.rows]) == ("litert", ["unknown"])
    (line,) = made.uncertain
    assert line.startswith("Raspberry Pi OS (64-bit), Trixie: ")
    assert "2.1.6 and 2.2.0 are reported" in line
    assert "; take as a runtime release" in line


def test_of_two_that_nobody_has_reported_the_nearer_is_taken(tmp_path):
    """LiteRT is reported with just this build, in other versions; tflite-runtime 2.14 with none that is so new."""
    made = choose(PI, (BOOKWORM,), CoralFiles(libedgetpu=deb(tmp_path / "a.deb", version="16.0tf2.19.1-1.bookworm")))
    assert (made.runtime.extra, [row.verdict for row in made.rows]) == ("litert", ["unknown"])


def test_a_driver_for_a_newer_c_library_is_refused(tmp_path):
    newer = deb(tmp_path / "a.deb", version="16.0tf2.17.1-1.bookworm", library=libedgetpu(glibc="2.34"))
    files = CoralFiles(python=interpreter(tmp_path / "python.tar.gz"), libedgetpu=newer)
    systems, _ = with_interpreter(DEV, (MENDEL,), files)
    said = refused(DEV, systems, files)
    assert "needs glibc 2.34, Mendel Linux 5.3 (Eagle) has 2.28" in said


def test_mendel_with_an_interpreter_and_a_build_is_let_in_as_not_reported(tmp_path):
    files = CoralFiles(
        interpreter(tmp_path / "python.tar.gz"), deb(tmp_path / "a.deb", version="16.0tf2.17.1-1.buster")
    )
    systems, found = with_interpreter(DEV, (MENDEL,), files)
    assert (systems[0].python, systems[0].runs_the_agent, found.version) == ("3.11", True, "3.11.9")
    made = choose(DEV, systems, files)
    assert (made.runtime.extra, [row.verdict for row in made.rows]) == ("litert", ["unknown"])


def test_an_interpreter_for_a_newer_c_library_is_refused(tmp_path):
    path = interpreter(tmp_path / "python.tar.gz", program=elf(glibc="2.34"))
    with pytest.raises(ImageError, match=r"the Python of python.tar.gz needs glibc 2.34, Mendel .* has 2.28"):
        with_interpreter(DEV, (MENDEL,), CoralFiles(path))


def test_cpu_only_leaves_the_accelerator_out_and_asks_for_nothing():
    board = without_accelerator(PI)
    assert board.targets == ("cpu", "onnx")
    assert choose(board, (BOOKWORM, TRIXIE), CoralFiles(cpu_only=True)) is None
    assert "coral" not in extras_of(board)


def test_a_driver_for_a_board_without_an_edge_tpu_is_a_mistake(tmp_path):
    assert "uses no Edge TPU" in refused(load_board("raspberry-pi-4"), (BOOKWORM,), CoralFiles(libedgetpu=tmp_path))


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda each: each.name)
def test_the_runtimes_are_those_of_the_locks(runtime):
    pin = read_lock(lock_file(runtime.extra).read_text())[runtime.name]
    assert pin.version == runtime.version


def test_the_runtime_of_these_boards_is_pinned_and_takes_delegates():
    """LiteRT's CompiledModel does not: the classic Interpreter of tflite-runtime is pinned, with the numpy for it."""
    pins = read_lock(lock_file("coral").read_text())
    assert pins["tflite-runtime"].version == "2.14.0"
    assert re.match(r"1\.", pins["numpy"].version)
