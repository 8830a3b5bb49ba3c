"""A FAT file system inside a file, by mtools: needs neither root nor a loop device. Knows nothing of what it holds."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from skerry_host import children
from skerry_host.image.boot.partition import Partition
from skerry_host.image.errors import BootError

_FREE = re.compile(r"([0-9 ]+) bytes free")
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Fat:
    """A file system at some place of a file."""

    image: Path
    partition: Partition

    def free_bytes(self) -> int:
        """Room for more files. Raises `BootError`."""
        found = _FREE.search(self._run("mdir", "::"))
        return int(found[1].replace(" ", "")) if found else 0

    def names(self) -> set[str]:
        """What lies at the top, in small letters: FAT knows one file by either. Raises `BootError`."""
        listed = self._run("mdir", "-b", "-a", "::")
        return {line.removeprefix("::/").rstrip("/").lower() for line in listed.splitlines() if line.startswith("::/")}

    def read(self, name: str) -> bytes:
        """A file at the top. Raises `BootError`."""
        return self._run("mtype", f"::{name}").encode("latin-1")

    def remove_folder(self, name: str) -> None:
        """Remove a folder with all that is in it. Raises `BootError`."""
        self._run("mdeltree", f"::{name}")

    def copy(self, paths: Iterable[Path]) -> None:
        """Copy files and folders to the top, over those that are there. Raises `BootError`."""
        self._run("mcopy", "-s", "-Q", "-o", "-m", *map(str, paths), "::")

    def _run(self, program: str, *words: str) -> str:
        command = [program_path(program), "-i", f"{self.image}@@{self.partition.offset}", *words]
        environment = children.environment() | {"MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, env=environment, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BootError(f"{program} cannot be run: {error}") from None
        if done.returncode != 0:
            said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"])[-1]
            raise BootError(f"the boot partition cannot be used: {program} says: {said}", hint="write the card anew")
        return done.stdout.decode("latin-1")


def program_path(name: str) -> str:
    """Of a program of mtools. Raises `BootError` where that is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin"]))
    if found is None:
        raise BootError("mtools is not installed here, which writes image files", hint="apt-get install mtools")
    return found
