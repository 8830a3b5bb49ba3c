"""Damages bytes as a disk, a network, a foreign program or an attacker would. Knows no format, runs no reader.

A mutant is determined by the reader's name and its number, so that one that failed can be made again.
"""

import random
from collections.abc import Sequence

EXTREMES = (0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
INTEGERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"1000000000000", b"9" * 30, b"9" * 5000, b"0.1", b"true", b"null")
ANY = (
    b"[" * 3000,
    b"(" * 500,
    b"{" * 500,
    b'"',
    b"'",
    b"\\",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
)
MAX_BYTES = 1 << 18


def mutant(name: str, number: int, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Mutant `number` of a reader: one of its seeds with one to four places damaged."""
    rng = random.Random(f"{name}:{number}")
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4))):
        _damage(rng, data, seeds, (*ANY, *tokens))
    return bytes(data[:MAX_BYTES])


def _damage(rng: random.Random, data: bytearray, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = _place(rng, len(data))
    match rng.randrange(12):
        case 0 | 1 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 2 if data:
            data[at] = rng.choice(EXTREMES)
        case 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        case 4:
            del data[at : at + rng.choice((1, 2, 4, 16, 256))]
        case 5:
            del data[at:]
        case 6:
            _splice(rng, data, rng.choice(seeds), at)
        case 7:
            data[at:at] = data[at : at + rng.randrange(1, 64)]
        case 8:
            _set_integer(rng, data, at)
        case 9 | 10:
            _set_number(rng, data, at)
        case _:
            data[at : at + rng.choice((0, 0, 4))] = rng.choice(tokens)


def _place(rng: random.Random, length: int) -> int:
    """Anywhere, but half of the time where formats have their headers: at the beginning or the end."""
    if not length:
        return 0
    near = rng.choice((length, length, min(length, 128), -min(length, 64)))
    return length + rng.randrange(near, 0) if near < 0 else rng.randrange(near)


def _splice(rng: random.Random, data: bytearray, other: bytes, at: int) -> None:
    start = rng.randrange(len(other) or 1)
    data[at : at + rng.choice((0, 64))] = other[start : start + rng.randrange(1, 256)]


def _set_integer(rng: random.Random, data: bytearray, at: int) -> None:
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    data[at : at + width] = (rng.choice(INTEGERS) % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def _set_number(rng: random.Random, data: bytearray, at: int) -> None:
    """Put another number for the next one that is written in digits, if there is one."""
    start = next((i for i in range(at, min(len(data), at + 256)) if 0x30 <= data[i] <= 0x39), None)
    if start is None:
        return
    end = next((i for i in range(start, len(data)) if not 0x30 <= data[i] <= 0x39), len(data))
    data[start:end] = rng.choice(NUMBERS)
