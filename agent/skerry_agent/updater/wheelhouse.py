"""Installs a wheelhouse into a folder of its own, beside what runs: complete, or absent.

The wheelhouse is a tar of wheels and their `requirements.txt`; pip installs from it alone, by hash. All is made in a
temporary folder, synced, and renamed. The signature of the manifest that names the tar is checked by whoever calls, and
nothing that was installed is imported here. A later installation begins anew where one was cut off.
"""

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.ports.jobs import Refusal
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.state.disk import make_folder, sha256_of, sync_folder
from skerry_agent.state.runtimes import MANIFEST_FILE, PLACE, Place
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.installed import damaged_file
from skerry_agent.updater.room import Room
from skerry_agent.wire.hidden_modules import before_python, before_the_agent, modules_of
from skerry_agent.wire.runtimes import AGENT_DISTRIBUTION, MAX_FILES, REQUIREMENTS, Wheelhouse, is_file_name
from skerry_agent.wire.wheel_names import parse_wheel_name

PIP_TIMEOUT_S = 540.0
"""Below the time that an updater has; numpy and LiteRT take a Raspberry Pi 3 about a minute."""
PIP_BYTES = 110 * 1024 * 1024
"""Memory that pip takes for the largest wheelhouse that was measured (LiteRT 2.3.0 with numpy: 100 MB)."""


@dataclass(frozen=True)
class Installation:
    """`tar` is of `wheelhouse`; `manifest` the signed one that names it, kept in the folder. `title` is for people."""

    tar: Path
    wheelhouse: Wheelhouse
    manifest: bytes
    folder: Path
    title: str


Pip = Callable[[Path, Path, Path], None]
"""(wheels, target, scratch): installs all of a folder of wheels; raises `RefusedError`."""


def is_installed(folder: Path, manifest: bytes) -> bool:
    """Whether a folder is a whole installation of just that manifest: every file is what its RECORD says."""
    try:
        return (folder / MANIFEST_FILE).read_bytes() == manifest and damaged_file(folder) is None
    except OSError:
        return False


def install(job: Installation, room: Room, pip: "Pip | None" = None, place: Place = PLACE) -> None:
    """Make the folder, which must not be there yet. Raises `RefusedError`, `OSError`, and leaves nothing then."""
    temporary = job.folder.with_name(f".{job.folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        _check_room(job, room, temporary)
        wheels, target, scratch = (temporary / name for name in ("wheels", "target", "scratch"))
        for folder in (wheels, scratch):
            folder.mkdir()
        _unpack(job, wheels, place)
        (pip or run_pip)(wheels, target, scratch)
        _check(job, target)
        (target / MANIFEST_FILE).write_bytes(job.manifest)
        sync_tree(target)
        target.rename(job.folder)
        sync_folder(job.folder.parent)
    except tarfile.TarError as error:
        raise RefusedError(Refusal("failed", "wheelhouse_unfit", f"{job.title}: it is no tar: {error}")) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_room(job: Installation, room: Room, folder: Path) -> None:
    """Raise `RefusedError` where the board does not hold the wheels and what they become, or what pip takes."""
    lacking = room.lacks_disk(job.wheelhouse.installed_bytes + job.wheelhouse.artifact.size, folder)
    if lacking is not None:
        raise RefusedError(Refusal("failed", "disk_full", f"{job.title}: {lacking}"))
    free = room.free_memory_bytes()
    if free is not None and free < PIP_BYTES:
        needs = f"pip takes {PIP_BYTES} B of memory, {max(0, free)} B are free; stop something, or raise MemoryMax"
        raise RefusedError(Refusal("failed", "not_enough_ram", f"{job.title}: {needs}"))


def _unpack(job: Installation, wheels: Path, place: Place) -> None:
    """The files of the tar, once its hash is right and every name in it is one that may be there."""
    if sha256_of(job.tar) != job.wheelhouse.artifact.sha256:
        raise RefusedError(Refusal("failed", "hash_mismatch", f"{job.title}: the wheelhouse does not have its hash"))
    with tarfile.open(job.tar, "r:") as tar:
        for member in _members(tar, job.title):
            misfit = _misfit(member.name, place)
            if misfit is not None:
                raise RefusedError(Refusal("rejected", "wheel_misfit", f"{job.title}: {misfit}"))
            source = tar.extractfile(member)
            assert source is not None
            with source, (wheels / member.name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def _members(tar: tarfile.TarFile, title: str) -> Iterator[tarfile.TarInfo]:
    """Regular files at its top, each name once, and `requirements.txt` among them. Raises `RefusedError`."""
    seen: set[str] = set()
    for member in tar:
        if member.type != tarfile.REGTYPE or not is_file_name(member.name) or member.name in seen:
            raise _unfit(title, f"{member.name[:80]!r} may not be in a wheelhouse")
        seen.add(member.name)
        if len(seen) > MAX_FILES:
            raise _unfit(title, f"it has more than {MAX_FILES} files")
        yield member
    if REQUIREMENTS not in seen:
        raise _unfit(title, f"it has no {REQUIREMENTS}")


def _misfit(name: str, place: Place) -> str | None:
    """Why a wheel is not for this machine and Python; pip would only say that it found nothing."""
    if name == REQUIREMENTS:
        return None
    wheel = parse_wheel_name(name)
    return f"{name} is no wheel's name" if wheel is None else wheel.misfit(place.machine, place.python)


def _unfit(title: str, what: str) -> RefusedError:
    return RefusedError(Refusal("rejected", "wheelhouse_unfit", f"{title}: {what}"))


def _check(job: Installation, target: Path) -> None:
    """What pip has made is whole, and is all that the manifest promises."""
    there = {path.name.partition("-")[0].replace("_", "-").lower() for path in target.glob("*.dist-info")}
    missing = sorted(job.wheelhouse.distributions.keys() - {name.replace(".", "-") for name in there})
    if missing:
        raise _unfit(job.title, f"{', '.join(missing)} is promised by its manifest and not in it")
    hiding = _hiding(job, target)
    if hiding:
        raise _unfit(job.title, f"it brings {', '.join(hiding)}, which would come before Python's own or the agent's")
    damaged = damaged_file(target)
    if damaged is not None:
        raise RefusedError(Refusal("failed", "install_failed", f"{job.title}: {damaged} is not what its RECORD says"))


def _hiding(job: Installation, target: Path) -> list[str]:
    """What the host would not have signed; a folder without a first file stands before nothing."""
    found = modules_of(path.relative_to(target).as_posix() for path in target.glob("*"))
    found |= modules_of(path.relative_to(target).as_posix() for path in target.glob("*/__init__.*"))
    is_agent = AGENT_DISTRIBUTION in job.wheelhouse.distributions
    return [*before_python(found), *(() if is_agent else before_the_agent(found))]


def run_pip(wheels: Path, target: Path, scratch: Path) -> None:
    """Install by this interpreter's pip, which dies with this process. Raises `RefusedError` with what it says."""
    options = ["--no-index", "--require-hashes", "--no-deps", "--no-cache-dir", "--find-links", str(wheels)]
    command = [sys.executable, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "install"]
    command += [*options, "--target", str(target), "-r", str(wheels / REQUIREMENTS)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(scratch), "HOME": str(scratch)}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            cwd=scratch,
            timeout=PIP_TIMEOUT_S,
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired:
        detail = f"pip did not end within {PIP_TIMEOUT_S:.0f} s"
        raise RefusedError(Refusal("failed", "install_failed", detail)) from None
    if done.returncode:
        raise RefusedError(_refusal(done.stderr, done.returncode))


def _refusal(said: str, status: int) -> Refusal:
    """What pip says on many lines, on one."""
    if "No module named pip" in said:
        detail = f"{sys.executable} has no pip: install python3-pip, or make its environment by `python3 -m venv`"
        return Refusal("failed", "no_pip", detail)
    if "DO NOT MATCH THE HASHES" in said:
        wheel = next((line.split()[0] for line in said.splitlines() if "(from -r" in line), "a wheel")
        detail = f"pip: {wheel} does not have the hash that {REQUIREMENTS} pins"
        return Refusal("failed", "hash_mismatch", detail)
    errors = [line.partition("ERROR: ")[2] for line in said.splitlines() if "ERROR: " in line]
    words = next(iter(errors), said.strip().splitlines()[-1] if said.strip() else f"exit status {status}")
    return Refusal("failed", "install_failed", f"pip: {words[:300]}")


def sync_tree(folder: Path) -> None:
    """Make all that was written to the disk of a folder durable: one call, where a file has a thousand neighbours."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of installations, waiting for it: two models may be given one runtime at a time.

    Raises `OSError`.
    """
    make_folder(folder)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
