"""What an image folder is made of: the request that every part reads, and the files that parts answer with.

Decides nothing, and writes nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skerry_host.boards import Board
from skerry_host.image.coral.choice import Coral
from skerry_host.image.coral.interpreter import Interpreter
from skerry_host.image.wheels import Wheelhouse
from skerry_host.systems import System

PRIVATE, PUBLIC, PROGRAM = 0o600, 0o644, 0o755


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of the folder by its path in it: `content`, or a copy of the file `source`."""

    path: str
    content: bytes | None = None
    source: Path | None = None
    mode: int = PUBLIC

    def sha256(self) -> str:
        """Of what is to be written. Raises `OSError`."""
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        assert self.source is not None
        with self.source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def size(self) -> int:
        """In bytes. Raises `OSError`."""
        if self.content is not None:
            return len(self.content)
        assert self.source is not None
        return self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Factory:
    """A factory release: an export's folder, which a model begins with."""

    release: str
    model: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a person has asked to be in the folder, beside what every folder has: wheels are there already."""

    systems: tuple[System, ...]
    wheelhouse: Wheelhouse
    factories: tuple[Factory, ...] = ()
    coral: Coral | None = None
    interpreter: Interpreter | None = None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A folder for boards of one kind. `identity` are the files at its top, by name, with their modes.

    `device` is None where the host names whoever comes; `claim` None where boards need none, `expires` likewise.
    """

    board: Board
    ordered: Ordered
    identity: Mapping[str, tuple[str, int]]
    broker: str
    made: float
    device: str | None = None
    claim: str | None = None
    expires: float | None = None
    count: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)
