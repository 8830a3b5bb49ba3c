"""Walks a protocol buffer message without its generated code: field numbers and raw values. Knows no message type.

Format: protobuf.dev/programming-guides/encoding. Every length is checked against the bytes that are there.
"""

from collections.abc import Iterator

Value = int | memoryview
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT = 10
"""Bytes of the longest number."""


class DamagedError(ValueError):
    """The bytes are not a message."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The number and the value of each field: a number, or the bytes of a string or of a message within."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise DamagedError(f"wire type {kind}")
        if size > len(message) - at:
            raise DamagedError("a field ends after the message")
        yield number, message[at : at + size]
        at += size


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at a place and the place after it."""
    value = 0
    for step, byte in enumerate(message[at : at + _MOST_VARINT]):
        value |= (byte & 0x7F) << (7 * step)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + step + 1
    raise DamagedError("a number without an end")


def inner(value: Value) -> memoryview:
    """The bytes of a field that must have some."""
    if isinstance(value, int):
        raise DamagedError("a number where a message should be")
    return value


def number(value: Value) -> int:
    """A field that must be a number, with its sign."""
    if not isinstance(value, int):
        raise DamagedError("bytes where a number should be")
    return value - (1 << 64) if value >> 63 else value


def words(value: Value) -> str:
    """A field that must be text."""
    return bytes(inner(value)).decode("utf-8", "replace")
