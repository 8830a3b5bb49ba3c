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
        for name, hashed, _size in csv.reader(record.read_text("utf-8").splitlines()):
            outside = name.startswith("../")  # scripts: pip lays them elsewhere, and nobody calls them
            if hashed and not outside and not _has(folder / name, hashed):
                return name
    return None


def _has(file: Path, hashed: str) -> bool:
    """Whether a file has a hash as RECORD writes it: sha256, without padding. Other algorithms are not read."""
    algorithm, _, wanted = hashed.partition("=")
    if algorithm != "sha256":
        return file.is_file()
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == wanted
