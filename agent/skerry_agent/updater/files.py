"""Checks files that the updater did not write itself."""

from pathlib import Path

from skerry_agent.state.disk import sha256_of


def has_hash(file: Path, sha256: str) -> bool:
    """Whether a file can be read and has that hash: a file's name does not guarantee its content."""
    try:
        return sha256_of(file) == sha256
    except OSError:
        return False
