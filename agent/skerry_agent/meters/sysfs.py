"""Reads small files of the kernel: a value, or None if it is absent, unreadable or not a number. Interprets nothing."""

from pathlib import Path


def read_text(path: Path) -> str | None:
    """The stripped text; None when there is none to be had (drivers answer with all sorts of errors)."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """A decimal integer."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def folders(parent: Path, prefix: str) -> list[Path]:
    """The entries of a class folder whose name is the prefix and a number, in order of that number."""
    try:
        found = [path for path in parent.iterdir() if path.name.removeprefix(prefix).isdecimal()]
    except OSError:
        return []
    return sorted(
        (path for path in found if path.name.startswith(prefix)), key=lambda path: int(path.name.removeprefix(prefix))
    )
