"""What the application and the host have seen of reports, in memory that survives the process that wrote it.

An anonymous shared mapping: noting something costs no system call, so it adds no point to a trace, and a kill at any
instant leaves what was noted before it.
"""

import mmap
import struct

_SIZE = 1 << 20
_HEAD = struct.Struct("<I")


class Ledger:
    """Lines, appended by a child and read by its parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def note(self, line: str) -> None:
        """Append a line; it counts only when its length is in the head, which is written last."""
        (used,) = _HEAD.unpack_from(self._memory)
        data = line.encode(errors="replace")[:60_000].replace(b"\n", b"\x01") + b"\n"
        start = _HEAD.size + used
        self._memory[start : start + len(data)] = data
        _HEAD.pack_into(self._memory, 0, used + len(data))

    def lines(self, kind: str) -> list[str]:
        """What was noted under a kind, in order."""
        (used,) = _HEAD.unpack_from(self._memory)
        text = self._memory[_HEAD.size : _HEAD.size + used].decode()
        lines = (line.partition(" ") for line in text.splitlines())
        return [rest.replace("\x01", "\n") for found, _, rest in lines if found == kind]

    def copy(self) -> bytes:
        """Its content, for `restore`."""
        return bytes(self._memory[: _HEAD.size + _HEAD.unpack_from(self._memory)[0]])

    def restore(self, content: bytes) -> None:
        """Make it what it was at `copy`."""
        self._memory[: len(content)] = content

    def clear(self) -> None:
        """Forget everything."""
        _HEAD.pack_into(self._memory, 0, 0)
