"""Whole numbers and counts of them as a few bytes: what the packed forms of sketches and reports are made of. Pure.

A tally (number to count) is written in the order of its numbers: the first number and its count, how many follow, and a
byte for each of those: 3 bits of step from the number before, 5 of count, both less 1. What does not fit comes after
all these bytes, in their order. All numbers are LEB128, 7 bits a byte and the lowest first; the first one is folded
(0, -1, 1, -2, ...).
"""

from collections.abc import Mapping
from itertools import accumulate

from skerry_agent.wire.errors import WireError

MAX_NUMBER = 2**40
"""The largest number and count: above it nothing is a measurement, and a sum of many still fits 64 bits."""

_VARINT_BYTES = 6
_FAR, _MANY = 7, 31
"""The step and the count, each less 1, that say that the rest follows."""

_STEPS = bytes((byte >> 5) + 1 for byte in range(256))
_COUNTS = bytes((byte & 0x1F) + 1 for byte in range(256))
_WHOLE = bytes(byte for byte in range(256) if byte >> 5 < _FAR and byte & 0x1F < _MANY)


def write_varint(number: int, out: bytearray) -> None:
    """Append a number of 0 or more."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """(number, where the next one begins); raises `WireError` where it is cut off or too large."""
    if at < len(raw) and raw[at] < 0x80:
        return raw[at], at + 1
    number = 0
    for place, byte in enumerate(raw[at : at + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise WireError("tally", ["a number in it is cut off or too large"])


def pack_tally(tally: Mapping[int, int]) -> bytes:
    """The bytes of a tally, none for an empty one; counts of 0 are left out.

    Raises `WireError` for numbers and counts that `unpack_tally` refuses.
    """
    pairs = sorted(pair for pair in tally.items() if pair[1])
    if not pairs:
        return b""
    before, count = pairs[0]
    if not _is_measurable(before, pairs[-1][0], [count for _, count in pairs]):
        raise WireError("tally", ["a number or count in it is beyond all measure"])
    out, body, rests = bytearray(), bytearray(), bytearray()
    for number in (2 * before if before >= 0 else -2 * before - 1, count, len(pairs) - 1):
        write_varint(number, out)
    for number, count in pairs[1:]:
        step, less = number - before - 1, count - 1
        before = number
        if step >= _FAR:
            write_varint(step - _FAR, rests)
            step = _FAR
        if less >= _MANY:
            write_varint(less - _MANY, rests)
            less = _MANY
        body.append(step << 5 | less)
    return bytes(out + body + rests)


def unpack_tally(raw: bytes, at: int = 0) -> tuple[list[int], list[int]]:
    """Numbers, in their order, and the count of each, that these bytes hold from `at` on; raises `WireError`."""
    if at == len(raw):
        return [], []
    folded, at = read_varint(raw, at)
    first = folded >> 1 if folded & 1 == 0 else -(folded + 1 >> 1)
    count, at = read_varint(raw, at)
    length, at = read_varint(raw, at)
    body, rests = raw[at : at + length], raw[at + length :]
    steps, counts = [first, *body.translate(_STEPS)], [count, *body.translate(_COUNTS)]
    used = _add_rests(body, rests, steps, counts) if body.translate(None, _WHOLE) else 0
    if len(body) != length or used != len(rests):
        raise WireError("tally", ["it is cut off, or too long"])
    numbers = [*accumulate(steps)]
    if not _is_measurable(first, numbers[-1], counts):
        raise WireError("tally", ["a number or count in it is beyond all measure"])
    return numbers, counts


def _add_rests(body: bytes, rests: bytes, steps: list[int], counts: list[int]) -> int:
    """Add what did not fit into the body to all but the first of steps and counts; returns how many bytes it took."""
    at = 0
    for place, byte in enumerate(body, start=1):
        if byte >> 5 == _FAR:
            rest, at = read_varint(rests, at)
            steps[place] += rest
        if byte & 0x1F == _MANY:
            rest, at = read_varint(rests, at)
            counts[place] += rest
    return at


def _is_measurable(first: int, last: int, counts: list[int]) -> bool:
    return first >= -MAX_NUMBER and last <= MAX_NUMBER and min(counts) > 0 and max(counts) <= MAX_NUMBER
