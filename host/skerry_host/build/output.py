"""Writes the folder of a build: all of it, or nothing. Knows nothing of models."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from skerry_host.build.errors import OutputError
from skerry_host.build_record import FILE
from skerry_host.files import sync_folder, write_atomic


def check_output(out: Path) -> None:
    """Raise `OutputError` when `out` is something that a build must not replace."""
    if out.exists() and not (out / FILE).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out} exists and is not a build", hint="choose another --out, or remove it")


def write_folder(out: Path, files: Mapping[str, bytes]) -> None:
    """Put the files in a new folder beside `out`, then let it take the place of `out`. Raises `OutputError`."""
    check_output(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from None
    try:
        _fill(work / "new", files)
        _swap(work, out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}", hint="nothing was changed") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        write_atomic(folder / name, data)
    sync_folder(folder)


def _swap(work: Path, out: Path) -> None:
    """`work/new` becomes `out`; what was there goes to `work/old`, and comes back if the move fails."""
    if out.exists():
        out.rename(work / "old")
    try:
        os.rename(work / "new", out)  # noqa: PTH104  (must not replace anything)
    except OSError:
        if (work / "old").exists():
            (work / "old").rename(out)
        raise
    sync_folder(out.parent)
