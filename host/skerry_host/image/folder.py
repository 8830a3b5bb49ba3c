"""Writes the files of a folder that boards are given: all of them, or none that was not there before.

What somebody has added to an agent.toml of before is kept beside the folder.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from skerry_host.files import sync_folder, write_atomic
from skerry_host.image.errors import ImageError
from skerry_host.image.request import ImageFile

_OWNED = ("wheels", "factory", "system", "steps.d", "coral")
"""Folders that hold nothing but ours: what an image of before has left there goes."""


def write_folder(folder: Path, files: Sequence[ImageFile], before: Path) -> None:
    """Write files below a folder; a file `agent.toml` that is there is copied to `before`. Raises `ImageError`."""
    there, new = folder.is_dir(), [folder / file.path for file in files if not (folder / file.path).exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / "agent.toml").is_file():
            write_atomic(before, (folder / "agent.toml").read_bytes(), mode=0o600)
        for file in files:
            _write(folder / file.path, file)
    except BaseException as error:  # a person may have had enough of it
        _take_away(folder, new, keep=there)
        if not isinstance(error, OSError):
            raise
        raise ImageError(
            f"cannot write {folder}: {error.strerror or error}", hint="make room, or choose another", code="folder"
        ) from None
    _remove_others(folder, files)


def _write(path: Path, file: ImageFile) -> None:
    if file.content is not None:
        write_atomic(path, file.content, mode=file.mode)
        return
    assert file.source is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        shutil.copyfile(file.source, temporary)
        temporary.chmod(file.mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _take_away(folder: Path, files: Sequence[Path], *, keep: bool) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
    for inner in sorted({file.parent for file in files} - {folder}, key=lambda path: -len(path.parts)):
        with suppress(OSError):
            inner.rmdir()
            if inner.parent != folder:
                inner.parent.rmdir()
    if not keep:
        with suppress(OSError):
            folder.rmdir()


def _remove_others(folder: Path, files: Sequence[ImageFile]) -> None:
    if not any(file.path.startswith("wheels/") for file in files):
        return
    ours = {folder / file.path for file in files}
    for name in _OWNED:
        for path in sorted((folder / name).rglob("*"), reverse=True):
            with suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                elif path not in ours:
                    path.unlink()
