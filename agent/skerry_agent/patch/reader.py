"""Reads integers and slices from a patch, never beyond its end. It does not interpret them."""

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.errors import damaged

MAX_VARINT_BYTES = 5
MAX_VARINT = (1 << 32) - 1


def all_varints(data: bytes | memoryview) -> NDArray[np.int32]:
    """Every integer of `data`, each at most 4 bytes long. Raises `PatchError('damaged')`."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate([np.zeros(1, np.intp), ends + 1])
    lengths = np.diff(starts)
    if starts[-1] != len(raw) or (len(lengths) and int(lengths.max()) > 4):
        raise damaged("an integer is too long")
    values = np.zeros(len(ends), np.int32)
    for place in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > place)
        values[longer] |= (raw[starts[longer] + place].astype(np.int32) & 0x7F) << (7 * place)
    return values


class Reader:
    """A cursor over `data`. Every method raises `PatchError('damaged')` rather than read past the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes are unread."""
        return len(self._data) - self._at

    def take(self, count: int) -> memoryview:
        """The next `count` bytes without copying them."""
        if count > self.left:
            raise damaged(f"{count} bytes wanted, {self.left} left")
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self, limit: int = MAX_VARINT) -> int:
        """A little-endian base-128 integer of at most `limit`."""
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > limit:
                    raise damaged(f"a size of {value} exceeds its limit of {limit}")
                return value
        raise damaged("an integer is too long")

    def signed(self, limit: int = MAX_VARINT) -> int:
        """A zigzag integer: 0, -1, 1, -2, ... whose magnitude is at most about `limit`."""
        raw = self.varint(min(MAX_VARINT, 2 * limit + 1))
        return -(raw + 1 >> 1) if raw & 1 else raw >> 1
