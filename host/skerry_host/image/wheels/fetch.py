"""Fetches the wheels of a board by pip, for another machine and Python than this one, and keeps them in the home.

What is kept is found by all that it depends on, is there completely or not at all, and is checked by its hashes
whenever it is used. Takes no version of its own accord: pip gets names, versions and hashes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skerry_host import children
from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.lock import Pin
from skerry_host.image.wheels.wheelhouse import Wheel

OLDEST_GLIBC = 5
"""No wheel is for an older one (2.5: manylinux1)."""
TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Wheels for one machine, Python (3.11) and glibc (2.36)."""

    machine: str
    python: str
    glibc: str
    pins: Mapping[str, Pin]

    @property
    def key(self) -> str:
        """Names the folder that they are kept in."""
        lines = [f"{pin.name}=={pin.version} {sorted(pin.sha256)}" for _, pin in sorted(self.pins.items())]
        digest = hashlib.sha256("\n".join([self.glibc, *lines]).encode()).hexdigest()
        return f"{self.machine}-cp{self.python.replace('.', '')}-{digest[:16]}"

    @property
    def spoken(self) -> str:
        """For a person."""
        return f"{self.machine} and Python {self.python}"


def fetch(wanted: Wanted, kept: Path, given: Path | None = None) -> list[Wheel]:
    """The wheels, from `kept` or by pip: out of its index, or out of the folder `given`. Raises `WheelError`."""
    folder = kept / wanted.key
    try:
        if folder.is_dir():
            with suppress(WheelError):  # damaged: once more
                return _checked(folder, wanted)
            shutil.rmtree(folder)
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=kept) as temporary:
            _download(wanted, Path(temporary) / "wheels", given)
            _checked(Path(temporary) / "wheels", wanted)
            with suppress(FileExistsError, OSError):  # another command was quicker
                (Path(temporary) / "wheels").rename(folder)
        return _checked(folder, wanted)
    except OSError as error:
        raise WheelError(f"cannot keep wheels in {kept}: {error.strerror or error}", hint="make room") from None


def _download(wanted: Wanted, folder: Path, given: Path | None) -> None:
    folder.mkdir()
    locked = folder.with_name("locked.txt")
    locked.write_text("".join(_line(pin) for _, pin in sorted(wanted.pins.items())))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps",
               "--only-binary", ":all:", "--require-hashes", "--retries", "2", "--no-input",
               "--implementation", "cp", "--python-version", wanted.python,
               *_platforms(wanted), "-r", str(locked), "-d", str(folder)]  # fmt: skip
    if given is not None:
        command += ["--no-index", "--find-links", str(given)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=children.environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(wanted, given, str(error)) from None
    if done.returncode != 0:
        raise _failed(wanted, given, done.stderr)


def _line(pin: Pin) -> str:
    return f"{pin.name}=={pin.version}{''.join(f' --hash=sha256:{each}' for each in sorted(pin.sha256))}\n"


def _platforms(wanted: Wanted) -> Sequence[str]:
    """Every platform tag of a glibc that is old enough for the board's: pip does not derive them."""
    newest = int(wanted.glibc.split(".")[1])
    tags = [f"manylinux_2_{minor}_{wanted.machine}" for minor in range(newest, OLDEST_GLIBC - 1, -1)]
    return [word for tag in (*tags, f"manylinux2014_{wanted.machine}") for word in ("--platform", tag)]


def _failed(wanted: Wanted, given: Path | None, said: str) -> WheelError:
    """One line out of what pip has said."""
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    if "No module named pip" in said:
        return WheelError("this Python has no pip, which fetches the wheels", hint=f"install it: {sys.executable}")
    if "DO NOT MATCH THE HASHES" in said or "Hashes are required" in said:
        words, hint = "a file has another hash than the lock", "somebody has changed it: use another source of wheels"
        return WheelError(f"the wheels for {wanted.spoken} are refused: {words}", hint=hint, code="wheel_hash")
    if "connection broken by" in said:
        lines = ["the package index is not reached"]
    why = lines[0].rstrip(".") if lines else (said.strip().splitlines() or ["pip said nothing"])[-1]
    if given is not None:
        hint = f"`scripts/wheelhouse FOLDER device {wanted.machine} {wanted.python}` fills a folder for it"
        return WheelError(f"{given} lacks wheels for {wanted.spoken}: {why}", hint=hint)
    hint = "connect this machine to its package index once, or give a folder of wheels with --wheels, or --config-only"
    return WheelError(f"the wheels for {wanted.spoken} cannot be fetched: {why}", hint=hint)


def _checked(folder: Path, wanted: Wanted) -> list[Wheel]:
    """Every wheel of a folder. Raises `WheelError` unless they are just those of the lock."""
    wheels = [_wheel(path) for path in sorted(folder.glob("*.whl"))]
    for wheel in wheels:
        pin = wanted.pins.get(wheel.name)
        if pin is None or wheel.sha256 not in pin.sha256:
            raise WheelError(
                f"{folder / wheel.file} is not the file that is locked", hint="remove it", code="wheel_hash"
            )
        if not any(tag == "any" or tag.endswith(f"_{wanted.machine}") for tag in wheel.platforms):
            raise WheelError(f"{folder / wheel.file} is not for {wanted.machine}", hint="remove it", code="wheel_arch")
    if missing := sorted(set(wanted.pins) - {wheel.name for wheel in wheels}):
        raise WheelError(f"{folder} lacks {', '.join(missing)}", hint="remove that folder")
    return wheels


def _wheel(path: Path) -> Wheel:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise WheelError(f"{path} is no wheel", hint="remove it", code="wheel_hash") from None
    return Wheel(os.fspath(path.name), sha256, unpacked, path=path)
