"""A boot partition that an image folder is put into: first everything is tried on a copy, then one rename keeps it."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from skerry_host import children
from skerry_host.image.boot.layout import DECISIVE, FOLDER, Layout, layout
from skerry_host.image.boot.mtools import Fat, program_path
from skerry_host.image.boot.partition import find_boot_partition
from skerry_host.image.errors import BootError
from skerry_host.image.request import ImageFile

CLUSTER = 32 * 1024
"""What a file may take beyond its size on FAT."""


class BootTarget(Protocol):
    """A boot partition."""

    def put(self, files: Sequence[ImageFile]) -> str:
        """Write an image folder beside what is there; nothing counts before `keep`. Returns how the board starts it.

        Raises `BootError`.
        """

    def keep(self) -> None:
        """What was put is there from now on. Raises `BootError`."""


@contextmanager
def boot_target(path: Path) -> Iterator[BootTarget]:
    """A folder, or an image file. What is not kept leaves it as it was. Raises `BootError`."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            with _folder(path) as folder:
                yield folder
        elif stat.S_ISREG(kind):
            with _image(path.resolve()) as image:  # a link stays one, and leads to what was written
                yield image
        else:
            hint = "mount its boot partition and give that folder, or give an image file"
            raise BootError(f"{path} is neither a folder nor an image file", hint=hint)
    except OSError as error:
        raise BootError(f"cannot use {path}: {error.strerror or error}", hint="make room, or choose another") from None


class _Image:
    """An image file; `copy` is worked on."""

    def __init__(self, path: Path, copy: Path) -> None:
        self._path, self._copy = path, copy
        with copy.open("rb") as file:
            self._fat = Fat(copy, find_boot_partition(file, str(path)))
        program_path("mcopy")

    def put(self, files: Sequence[ImageFile]) -> str:
        names = self._fat.names()
        made = layout(files, {name: self._fat.read(name) for name in DECISIVE if name in names})
        if FOLDER in names:
            self._fat.remove_folder(FOLDER)
        _require_room(str(self._path), self._fat.free_bytes(), made)
        with tempfile.TemporaryDirectory(prefix="skerry-boot-") as folder:
            _write(Path(folder), (*made.top, *made.inner))
            self._fat.copy(sorted(Path(folder).iterdir()))
        return made.starts_by

    def keep(self) -> None:
        with self._copy.open("rb") as file:
            os.fsync(file.fileno())
        self._copy.replace(self._path)


@contextmanager
def _image(path: Path) -> Iterator[_Image]:
    with path.open("rb") as file:
        find_boot_partition(file, str(path))  # before gigabytes are copied
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        command = ["cp", "--reflink=auto", "--sparse=always", "--preserve=mode,ownership", "--", str(path), name]
        done = subprocess.run(command, capture_output=True, text=True, env=children.environment(), check=False)
        if done.returncode != 0:
            line = f"there is no room beside {path} for the copy that is worked on"
            raise BootError(line, hint=f"make room: {path.stat().st_size // 1_000_000} MB")
        yield _Image(path, copy)
    finally:
        copy.unlink(missing_ok=True)


class _Folder:
    """A folder where a boot partition is mounted. What is replaced at its top is held until the end."""

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, path / f".{FOLDER}.new"
        self._top: tuple[ImageFile, ...] = ()

    def put(self, files: Sequence[ImageFile]) -> str:
        made = layout(files, {name: (self._path / name).read_bytes() for name in DECISIVE if self._is_there(name)})
        _require_room(str(self._path), shutil.disk_usage(self._path).free, made)
        self.clear()
        _write(self._new, made.inner)
        self._top = made.top
        return made.starts_by

    def keep(self) -> None:
        """The folder first: what starts it comes when it is complete."""
        shutil.rmtree(self._path / FOLDER, ignore_errors=True)
        (self._new / FOLDER).rename(self._path / FOLDER)
        for file in self._top:
            _write(self._new, (file,))
            (self._new / file.path).replace(self._path / file.path)
        os.sync()

    def clear(self) -> None:
        shutil.rmtree(self._new, ignore_errors=True)

    def _is_there(self, name: str) -> bool:
        return (self._path / name).is_file()


@contextmanager
def _folder(path: Path) -> Iterator[_Folder]:
    folder = _Folder(path)
    try:
        yield folder
    finally:
        folder.clear()


def _write(folder: Path, files: Sequence[ImageFile]) -> None:
    """Files below a folder; FAT knows no modes."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=file.mode)
        if file.content is not None:
            path.write_bytes(file.content)
        else:
            assert file.source is not None
            shutil.copyfile(file.source, path)
        with suppress(PermissionError):
            path.chmod(file.mode)


def _require_room(name: str, free: int, made: Layout) -> None:
    needed = sum(file.size() + CLUSTER for file in (*made.top, *made.inner))
    if needed > free:
        raise BootError(
            f"{name} has room for {free // 1_000_000} MB, {needed // 1_000_000} MB are needed",
            hint="enlarge its boot partition, or make the image for one system (--os)",
            code="full",
        )
