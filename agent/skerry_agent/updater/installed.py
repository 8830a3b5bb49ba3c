"""Checks what pip has installed against the hashes that each distribution's RECORD has. Changes nothing."""

import base64
import csv
import hashlib
from pathlib import Path


def damaged_file(folder: Path) -> str | None:
    """The first file that is gone, or is not what its RECORD says; None if all are whole. Raises `OSError`."""
    records = sorted(folder.glob("*.dist-info/RECORD"))
    if not records:
        return "RECORD"
    for record in records:
        rows = _rows(record)
        if not rows:
            return str(record.relative_to(folder))
        for name, hashed in rows:
            outside = name.startswith("../")  # scripts: pip lays them elsewhere, and nobody calls them
            if hashed and not outside and not _has(folder / name, hashed):
                return name
    return None


def _rows(record: Path) -> list[tuple[str, str]]:
    """(file, hash) of each line; none where it is damaged itself. Raises `OSError`."""
    try:
        return [(row[0], row[1]) for row in csv.reader(record.read_text("utf-8").splitlines(), strict=True)]
    except (ValueError, IndexError, csv.Error):
        return []


def _has(file: Path, hashed: str) -> bool:
    """Whether a file has a hash as RECORD writes it: sha256, without padding. Other algorithms are not read."""
    algorithm, _, wanted = hashed.partition("=")
    if algorithm != "sha256":
        return file.is_file()
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").digest()
    except (OSError, ValueError):  # a damaged name may hold a NUL
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == wanted
