"""A wheelhouse becomes a folder of its own, whole or not at all; each bad one is refused in one line."""

import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.state.runtimes import PLACE, Place
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.room import Room
from skerry_agent.updater.wheelhouse import Installation, install, is_installed
from skerry_agent.wire.runtimes import REQUIREMENTS
from tests.kit.updater import board
from tests.kit.wheels import Wheel, requirements, tar_of, wheelhouse_of, wheelhouse_tar

TINY = Wheel()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    job = job_of(tmp_path_factory.mktemp("whole"), wheelhouse_tar(TINY))
    install(job, Room())
    return job.folder


def job_of(tmp_path, tar, *wheels, **fields):
    path = tmp_path / "tar"
    path.write_bytes(tar)
    wheelhouse = wheelhouse_of(tar, *(wheels or (TINY,)), **fields)
    return Installation(path, wheelhouse, b"{}", tmp_path / "runtimes" / "0123-cp311", "runtime tiny@1.0.0")


def refusal(job, **options):
    with pytest.raises(RefusedError) as refused:
        install(job, Room(), **options)
    left = [path.name for path in job.folder.parent.glob("*")]
    assert left == [], "something was left"
    assert "\n" not in refused.value.refusal.detail
    return refused.value.refusal


def test_what_was_installed_can_be_imported_from_its_folder_alone(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY))
    install(job, Room())
    code = "import tiny, sys; print(tiny.ANSWER, tiny.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(job.folder)}, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["42", str(job.folder / "tiny.py")]
    assert is_installed(job.folder, b"{}")
    assert not is_installed(job.folder, b"{ }")
    assert [path.name for path in job.folder.parent.iterdir()] == [job.folder.name]


def test_a_file_that_has_rotted_is_noticed(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY))
    install(job, Room())
    (job.folder / "tiny.py").write_text("ANSWER = 43\n")
    assert not is_installed(job.folder, b"{}")


def _sparse(member):
    member.type = tarfile.SYMTYPE
    member.linkname = "/etc/passwd"
    return member


def _with_link():
    import io

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as tar:
        tar.addfile(_sparse(tarfile.TarInfo("tiny-1.0-py3-none-any.whl")))
    return buffer.getvalue()


OTHER = "aarch64" if PLACE.machine != "aarch64" else "x86_64"
FOREIGN = Wheel(tag=f"py3-none-manylinux_2_17_{OTHER}")
NEWER = Wheel(tag=f"cp399-cp399-manylinux_2_17_{PLACE.machine}")
UNFIT = {
    "a name that leads out of the folder": tar_of({"../evil.whl": b"", REQUIREMENTS: b""}),
    "an absolute name": tar_of({"/tmp/evil.whl": b"", REQUIREMENTS: b""}),
    "a folder in it": tar_of({"sub/tiny-1.0-py3-none-any.whl": TINY.data}),
    "a file that is no wheel": tar_of({"setup.py": b"", REQUIREMENTS: b""}),
    "a link": _with_link(),
    "no requirements": tar_of({TINY.file: TINY.data}),
    "too many files": tar_of({f"a{i}-1-py3-none-any.whl": b"" for i in range(70)} | {REQUIREMENTS: b""}),
    "no tar": b"x" * 4096,
    "a wheel that the manifest promises is not there": wheelhouse_tar(replace(TINY, name="other")),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_a_tar_that_is_no_wheelhouse_is_refused(tmp_path, fault):
    assert refusal(job_of(tmp_path, UNFIT[fault])).reason == "wheelhouse_unfit"


@pytest.mark.parametrize("wheel", [FOREIGN, NEWER], ids=["another machine", "another Python"])
def test_a_wheel_that_is_not_for_this_device_is_named(tmp_path, wheel):
    found = refusal(job_of(tmp_path, wheelhouse_tar(wheel)))
    assert found.reason == "wheel_misfit"
    assert wheel.file in found.detail


def test_a_wheel_of_another_hash_is_named(tmp_path):
    pinned = requirements(TINY).encode()
    other = replace(TINY, files={"tiny.py": "ANSWER = 1\n"})
    found = refusal(job_of(tmp_path, tar_of({REQUIREMENTS: pinned, TINY.file: other.data})))
    assert (found.reason, "tiny" in found.detail) == ("hash_mismatch", True)


def test_a_tar_of_another_hash_is_never_opened(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY))
    job.tar.write_bytes(wheelhouse_tar(replace(TINY, version="2.0")))
    assert refusal(job).reason == "hash_mismatch"


def test_a_wheel_that_writes_outside_is_refused_by_pip(tmp_path):
    escaping = replace(TINY, files={"../../evil.py": "", "tiny.py": ""})
    assert refusal(job_of(tmp_path, wheelhouse_tar(escaping))).reason == "install_failed"
    assert not list(tmp_path.rglob("evil.py"))


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY), installed_bytes=2**52)
    found = refusal(job, pip=lambda *_: pytest.fail("pip was started"))
    assert (found.reason, "do not fit" in found.detail) == ("disk_full", True)


def test_what_does_not_fit_into_memory_is_not_begun_and_takes_no_board_down(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY))
    small = board(tmp_path / "board", {"proc/meminfo": "MemAvailable:   65536 kB\nSwapFree:   0 kB\n"})
    with pytest.raises(RefusedError, match="are free; stop something") as refused:
        install(job, small, pip=lambda *_: pytest.fail("pip was started"))
    assert refused.value.refusal.reason == "not_enough_ram"
    assert list(job.folder.parent.iterdir()) == []


def test_an_interpreter_without_pip_says_what_to_do(tmp_path):
    from skerry_agent.updater.wheelhouse import _refusal

    said = _refusal("/usr/bin/python3: No module named pip\n", 1)
    assert (said.reason, "install python3-pip" in said.detail) == ("no_pip", True)


def test_leftovers_of_an_installation_that_was_cut_off_are_removed(tmp_path):
    job = job_of(tmp_path, wheelhouse_tar(TINY))
    half = job.folder.with_name(f".{job.folder.name}.tmp")
    (half / "target" / "tiny").mkdir(parents=True)
    install(job, Room())
    assert [path.name for path in job.folder.parent.iterdir()] == [job.folder.name]


def test_a_place_names_its_folders():
    assert Place("aarch64", "cp311").tag == "cp311-aarch64"


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_bit_that_rots_anywhere_in_an_installation_is_noticed_and_never_an_error(installed, at, bit):
    """Of RECORD it need not be: what it then says of no file is no harm."""
    files = sorted(path for path in installed.rglob("*") if path.is_file() and path.suffix != ".pyc")
    path = files[at % len(files)]
    data = path.read_bytes()
    if not data:
        return
    rotten = bytearray(data)
    rotten[at % len(data)] ^= 1 << bit
    path.write_bytes(bytes(rotten))
    try:
        assert not is_installed(installed, b"{}") or path.name in {"RECORD", "REQUESTED", "INSTALLER"}
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize(
    "file",
    [
        "tiny-1.0.data/data/sitecustomize.py",
        "tiny-1.0.data/data/lib/python/msgspec/__init__.py",
        "usercustomize.py",
        "json.py",
        "skerry_agent/__init__.py",
    ],
)
def test_a_wheel_that_stands_before_python_or_the_agent_is_not_installed(tmp_path, file):
    """Whatever its name is: pip puts what a wheel has as data beside its modules."""
    wheel = Wheel(files={"tiny.py": "", file: ""})
    refused = refusal(job_of(tmp_path, wheelhouse_tar(wheel), wheel))
    assert refused.reason == "wheelhouse_unfit"
    assert "would come before" in refused.detail


def test_data_that_is_no_module_is_installed(tmp_path):
    wheel = Wheel(files={"tiny.py": "", "tiny-1.0.data/data/share/tiny.conf": "", "tiny-1.0.data/data/test/x.txt": ""})
    install(job_of(tmp_path, wheelhouse_tar(wheel), wheel), Room())
