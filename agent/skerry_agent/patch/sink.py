"""Where decoded bytes go: hashed, counted and never more than promised. It does not open files."""

import hashlib
from collections.abc import Callable

from skerry_agent.patch.container import PatchHeader
from skerry_agent.patch.errors import PatchError, damaged

BLOCK: int = 1 << 16


class Sink:
    """Passes on at most `header.new_size` bytes to `write`, in order."""

    def __init__(self, write: Callable[[bytes | memoryview], object], header: PatchHeader) -> None:
        self._write = write
        self._header = header
        self._digest = hashlib.sha256()
        self.left = header.new_size

    def put(self, piece: bytes | memoryview) -> None:
        """Pass `piece` on, or raise if it would make the result longer than the header says."""
        if len(piece) > self.left:
            raise damaged("it makes more bytes than its header says")
        self.left -= len(piece)
        self._digest.update(piece)
        self._write(piece)

    def finish(self) -> str:
        """The SHA-256 of the result. Raises `PatchError('wrong_result')` unless all that was promised came."""
        if self.left:
            raise damaged(f"it ends {self.left} bytes short of the size in its header")
        digest = self._digest.hexdigest()
        if not digest.startswith(self._header.new_sha256):
            raise PatchError("wrong_result", "the patched bytes do not have the SHA-256 that the patch promises")
        return digest
