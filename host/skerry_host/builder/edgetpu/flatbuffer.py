"""A bounds-checked walk over the tables of a flatbuffer (format: FlatBuffers internals, flatbuffers.dev).

Knows no schema: fields are given by number. Every read outside of the data raises `DamagedError`; nothing is copied
before it is known to be there.
"""

import struct
from dataclasses import dataclass


class DamagedError(ValueError):
    """An offset or a length of a file points outside of it, or a value is none that the format allows."""


@dataclass(frozen=True, slots=True)
class Table:
    """The table at offset `at` of `data`; fields are numbered in the order of the schema, from 0."""

    data: bytes
    at: int

    def integer(self, field: int, code: str = "i", default: int = 0) -> int:
        """An integer field of struct format `code`."""
        at = self._field(field)
        return default if at is None else int(_unpack(self.data, at, code))

    def real(self, field: int) -> float:
        """A 32-bit floating point field, 0 if absent."""
        at = self._field(field)
        return 0.0 if at is None else float(_unpack(self.data, at, "f"))

    def table(self, field: int) -> "Table | None":
        """A table field, if it is there."""
        at = self._field(field)
        return None if at is None else Table(self.data, _follow(self.data, at))

    def tables(self, field: int) -> "list[Table]":
        """A vector of tables."""
        start, count = self._vector(field, 4)
        return [Table(self.data, _follow(self.data, start + 4 * i)) for i in range(count)]

    def octets(self, field: int) -> bytes:
        """A string or a vector of bytes, empty if absent."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def octets_list(self, field: int) -> list[bytes]:
        """A vector of strings."""
        start, count = self._vector(field, 4)
        return [_octets(self.data, _follow(self.data, start + 4 * i)) for i in range(count)]

    def text(self, field: int) -> str:
        """A string for people."""
        return self.octets(field).decode("utf-8", "replace")

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        at = self._field(field)
        return (0, 0) if at is None else _extent(self.data, _follow(self.data, at), width)

    def _field(self, field: int) -> int | None:
        table = self.at - int(_unpack(self.data, self.at, "i"))
        slot = 4 + 2 * field
        if slot + 2 > _unpack(self.data, table, "H"):
            return None
        offset = int(_unpack(self.data, table + slot, "H"))
        return self.at + offset if offset else None


def root(data: bytes, identifier: bytes = b"") -> Table:
    """The root table; raises `DamagedError` when the file identifier is another."""
    if identifier and data[4:8] != identifier:
        raise DamagedError(f"it does not begin as {identifier.decode()}")
    return Table(data, _follow(data, 0))


def _follow(data: bytes, at: int) -> int:
    return at + int(_unpack(data, at, "I"))


def _octets(data: bytes, at: int) -> bytes:
    start, count = _extent(data, at, 1)
    return data[start : start + count]


def _extent(data: bytes, at: int, width: int) -> tuple[int, int]:
    """(first element, count) of the vector at `at`."""
    count = int(_unpack(data, at, "I"))
    if at + 4 + count * width > len(data):
        raise DamagedError("a vector reaches outside of the file")
    return at + 4, count


def _unpack(data: bytes, at: int, code: str) -> float:
    if at < 0 or at + struct.calcsize(f"<{code}") > len(data):
        raise DamagedError("an offset points outside of the file")
    value: float = struct.unpack_from(f"<{code}", data, at)[0]
    return value
