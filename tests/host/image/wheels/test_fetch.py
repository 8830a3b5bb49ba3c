"""Fetching wheels: the very files of the lock for the board's machine, kept whole or not at all."""

import hashlib

import pytest

from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.fetch import Wanted, fetch
from skerry_host.image.wheels.lock import Pin
from tests.kit.images import zipped

GOOD = "thing-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"
NAMES = (
    GOOD,
    "thing-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    "thing-1.0-cp313-cp313-manylinux_2_17_aarch64.whl",
    "thing-1.0-cp311-cp311-manylinux_2_40_aarch64.whl",
)


def content(name):
    info = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
    return zipped({"thing-1.0.dist-info/METADATA": info, "thing-1.0.dist-info/WHEEL": _wheel(name)})


def _wheel(name):
    return f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nGenerator: {name}\n".encode()


@pytest.fixture
def index(tmp_path):
    """A folder with a wheel for each of several machines."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(content(name))
    return folder


def wanted(machine="aarch64", python="3.11", names=NAMES, version="1.0"):
    hashes = frozenset(hashlib.sha256(content(name)).hexdigest() for name in names)
    return Wanted(machine, python, "2.36", {"thing": Pin("thing", version, hashes)})


def test_it_is_the_wheel_for_the_boards_machine_python_and_glibc(index, tmp_path):
    (found,) = fetch(wanted(), tmp_path / "kept", index)
    assert (found.file, found.sha256) == (GOOD, hashlib.sha256(content(GOOD)).hexdigest())
    assert found.unpacked > 0
    assert (found.name, found.version, found.platforms) == ("thing", "1.0", ("manylinux_2_17_aarch64",))


def test_what_was_fetched_once_needs_no_index(index, tmp_path):
    fetch(wanted(), tmp_path / "kept", index)
    for path in index.iterdir():
        path.unlink()
    assert [wheel.file for wheel in fetch(wanted(), tmp_path / "kept", index)] == [GOOD]


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_what_is_kept_and_damaged_is_fetched_again(index, tmp_path, harm):
    kept = tmp_path / "kept"
    harm(fetch(wanted(), kept, index)[0].path)
    (found,) = fetch(wanted(), kept, index)
    assert found.path.read_bytes() == content(GOOD)


REFUSED = {
    "a wheel of another hash": (wanted(names=NAMES[1:]), "another hash than the lock", "wheel_hash"),
    "no wheel for the machine": (wanted(machine="riscv64"), "lacks wheels for riscv64 and Python 3.11", "wheels"),
    "no wheel for the Python": (wanted(python="3.12"), "lacks wheels for aarch64 and Python 3.12", "wheels"),
    "no such version": (wanted(version="2.0"), "lacks wheels", "wheels"),
}


@pytest.mark.parametrize(("asked", "why", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_one_line_and_leaves_nothing(index, tmp_path, asked, why, code):
    with pytest.raises(WheelError) as error:
        fetch(asked, tmp_path / "kept", index)
    assert why in str(error.value)
    assert error.value.code == code
    assert "\n" not in str(error.value)
    assert list((tmp_path / "kept").iterdir()) == []


def test_wheels_of_another_lock_glibc_or_machine_are_kept_apart():
    keys = {wanted().key, wanted(machine="x86_64").key, wanted(python="3.13").key, wanted(names=NAMES[:1]).key}
    assert len(keys) == 4
    older = Wanted("aarch64", "3.11", "2.28", wanted().pins)
    assert older.key not in keys
