"""Collects the changes of ADD extents and packs them as runs and changed bytes. It does not choose extents."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

JOINS = (1, 4, 8)  # how many unchanged bytes a run of changes may bridge: each is tried
Bytes = NDArray[np.uint8]


@dataclass(slots=True)
class Changes:
    """The changed places of each extent, counted from its start, and what is added there."""

    places: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[Bytes] = field(default_factory=list)
    count: int = 0

    def add(self, places: NDArray[np.intp], values: Bytes) -> None:
        """Append an extent that changes at least one byte."""
        self.places.append(places.astype(np.int64))
        self.values.append(values)
        self.count += len(places)

    def pack(self, join: int) -> tuple[bytes, bytes]:
        """The streams of runs and of added bytes, runs joined across at most `join` unchanged bytes."""
        if not self.places:
            return b"", b""
        places, values = np.concatenate(self.places), np.concatenate(self.values)
        sizes = np.array([len(part) for part in self.places])
        opens = np.cumsum(sizes) - sizes  # the first place of each extent
        starts = np.diff(places, prepend=places[0]) > join
        starts[opens] = True
        first = np.flatnonzero(starts)
        last = np.concatenate([first[1:], [len(places)]]) - 1
        lengths = places[last] + 1 - places[first]
        gaps = places[first] - np.concatenate([[0], places[last[:-1]] + 1])
        begins = np.searchsorted(first, opens)  # the first run of each extent
        gaps[begins] = places[opens]
        stream = np.zeros(int(lengths.sum()), np.uint8)
        moved = np.cumsum(lengths) - lengths - places[first]
        stream[places + np.repeat(moved, last - first + 1)] = values
        return _with_sizes(np.stack([gaps, lengths], axis=1).reshape(-1), 2 * begins), stream.tobytes()


def pack_varints(values: NDArray[np.int64]) -> bytes:
    """All of `values`, from 0 to 2^32 - 1, as little-endian base-128 integers."""
    lengths = varint_sizes(values)
    starts = np.cumsum(lengths) - lengths
    out = np.zeros(int(lengths.sum()), np.uint8)
    for place in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > place)
        more = (lengths[longer] > place + 1).astype(np.int64) << 7
        out[starts[longer] + place] = (values[longer] >> (7 * place)) & 0x7F | more
    return out.tobytes()


def varint_sizes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bytes each of `values` takes."""
    sizes: NDArray[np.int64] = np.sum([values >= 1 << bits for bits in (0, 7, 14, 21, 28)], axis=0) + (values == 0)
    return sizes


def _with_sizes(fields: NDArray[np.int64], begins: NDArray[np.intp]) -> bytes:
    """The `fields` with, before each extent's first one, how many bytes that extent's fields take."""
    sizes = np.add.reduceat(varint_sizes(fields), begins)
    return pack_varints(np.insert(fields, begins, sizes))
