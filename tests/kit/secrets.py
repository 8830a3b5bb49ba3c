"""Looks for secrets where none should be: in processes and in files. No tests here."""

import os
from pathlib import Path


def processes() -> list[str]:
    return [
        folder.name for folder in Path("/proc").iterdir() if folder.name.isdigit() and folder.name != str(os.getpid())
    ]


def read(pid: str, name: str) -> bytes:
    try:
        return Path("/proc", pid, name).read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def parent_of(pid: str) -> str:
    return read(pid, "stat").rpartition(b")")[2].split()[1:2][0].decode() if read(pid, "stat") else ""


def in_processes(*secrets: str) -> list[str]:
    """Command lines and environments that have one in them."""
    places = [(pid, name) for pid in processes() for name in ("cmdline", "environ")]
    return [f"{pid}/{name}" for pid, name in places if any(secret.encode() in read(pid, name) for secret in secrets)]


def in_files(folder: Path, *secrets: str) -> list[str]:
    """Files of a folder that have one in them, by their paths."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    holds = [path for path in found if any(secret.encode() in path.read_bytes() for secret in secrets)]
    return sorted(str(path.relative_to(folder)) for path in holds)


def key_lines(folder: Path) -> set[str]:
    """What is in the private keys of a folder: a line of each, by which it is found elsewhere."""
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    blocks = [text.partition(b"PRIVATE KEY-----")[2].splitlines() for text in found if b"PRIVATE KEY-----" in text]
    return {lines[1].decode() for lines in blocks if len(lines) > 1}
