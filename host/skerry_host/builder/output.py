"""Writes the folder of a build: all of it, or nothing. Replaces an older build, never other files. Knows no model."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from skerry_host.build_record import FILE
from skerry_host.builder.recipe.errors import OutputError
from skerry_host.files import sync_folder, write_atomic

_BESIDE = {FILE, "report.html", "edgetpu_compiler.log"}
"""Files in a build's folder that are not artifacts."""


class _Artifact(Struct):
    name: str


class _Bundle(Struct):
    artifacts: tuple[_Artifact, ...]


class _Names(Struct):
    """What is read of an old build.json: which files it made."""

    bundles: tuple[_Bundle, ...]


def check_output(out: Path) -> None:
    """Raise `OutputError` when `out` cannot be written, or is something that a build must not replace."""
    require_folder(out, "--out")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    own = _own(out)
    if own is None:
        raise OutputError(f"{out} exists and is not a build", hint="choose another --out, or remove it")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in own)
    if foreign:
        names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise OutputError(
            f"{out} holds files that are not from a build: {names}", hint="move it away, or choose another --out"
        )


def require_folder(path: Path, option: str) -> None:
    """Raise `OutputError` when nothing can be written beside `path`: a file is in its way, or a right is missing."""
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "may not be written" if there.is_dir() else "is not a folder"
        raise OutputError(f"cannot write {path}: {there} {reason}", hint=f"choose another {option}")


def _own(out: Path) -> set[str] | None:
    """The names of a build's files; None where there is no build."""
    try:
        names = msgspec.json.decode((out / FILE).read_bytes(), type=_Names)
    except (OSError, msgspec.MsgspecError):
        return None
    return _BESIDE | {artifact.name for bundle in names.bundles for artifact in bundle.artifacts}


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
