"""A bounds-checked walk over flatbuffers that keeps file offsets, which generated readers hide.

Format: FlatBuffers internals (flatbuffers.dev). It knows no schema.
"""

import struct
from dataclasses import dataclass

from skerry_host.patch.tensors import LayoutError


@dataclass(frozen=True, slots=True)
class Table:
    """A table at offset `at` of `data`."""

    data: bytes
    at: int

    def scalar(self, field: int, code: str, default: int = 0) -> int:
        """An integer field of struct format `code`."""
        at = self._field(field)
        return default if at is None else _read(self.data, at, code)

    def table(self, field: int) -> "Table | None":
        """A table field, or `None` if absent."""
        at = self._field(field)
        return None if at is None else Table(self.data, at + _read(self.data, at, "I"))

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """(offset of the first element, count) of a vector of elements of `width` bytes; (0, 0) if absent."""
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + _read(self.data, at, "I")
        count = _read(self.data, start, "I")
        if start + 4 + count * width > len(self.data):
            raise LayoutError("a vector reaches outside the file")
        return start + 4, count

    def tables(self, field: int) -> "list[Table]":
        """The tables of a vector of tables."""
        start, count = self.vector(field, 4)
        spots = range(start, start + 4 * count, 4)
        return [Table(self.data, spot + _read(self.data, spot, "I")) for spot in spots]

    def integers(self, field: int, code: str) -> list[int]:
        """The integers of a vector of scalars of struct format `code`."""
        width = struct.calcsize(f"<{code}")
        start, count = self.vector(field, width)
        return list(struct.unpack_from(f"<{count}{code}", self.data, start)) if count else []

    def _field(self, field: int) -> int | None:
        vtable = self.at - _read(self.data, self.at, "i")
        slot = 4 + 2 * field
        if slot >= _read(self.data, vtable, "H"):
            return None
        offset = _read(self.data, vtable + slot, "H")
        return self.at + offset if offset else None


def root(data: bytes) -> Table:
    """The root table of `data`."""
    return Table(data, _read(data, 0, "I"))


def _read(data: bytes, at: int, code: str) -> int:
    if at < 0 or at + struct.calcsize(f"<{code}") > len(data):
        raise LayoutError("an offset points outside the file")
    return int(struct.unpack_from(f"<{code}", data, at)[0])
