"""Finds where plain bytes of the new file come from: runs of the old file, with or without scattered changes.

A greedy matcher in the manner of bsdiff (C. Percival, "Naive differences of executable code", 2003) over hashes of 16
bytes instead of a suffix array. Every byte of the new file is looked up, but of a large old file only every second to
eighth place is listed, so that the index takes at most twelve times a small file and twice a large one. It proposes
pieces; it does not encode them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SEED = 16
STRIDES = ((1 << 22, 1), (1 << 23, 2), (1 << 25, 4))  # up to so many old bytes, every so-manieth place is listed
LONGEST_STRIDE = 8  # a run of SEED + 7 bytes always holds a listed place
ROUNDS = 8  # entries of a bucket that are looked at one by one
LOOK = 1 << 13  # bytes of the new file that are looked up at a time
WINDOW = 1 << 16
FIRST_LOOK = 1 << 8
PATIENCE = 48  # score that an extension may lose before it gives up
_FIRST, _SECOND, _WORD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, (1 << 64) - 1
_KEY = np.uint64(0xFFFFFFFF00000000)  # an entry of the index: 32 bits of hash above 32 bits of place


@dataclass(frozen=True, slots=True)
class Style:
    """How eagerly old bytes are used: the shortest run worth naming, and what a changed byte inside one costs."""

    shortest: int
    penalty: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [at, end) of the new file. They continue the old file at `old_at`, or nothing if that is `None`."""

    at: int
    end: int
    old_at: int | None


@dataclass(frozen=True, slots=True)
class _Index:
    """Places of the old file in the order of their hashes, and where those begin that share their highest bits."""

    entries: NDArray[np.uint64]
    starts: NDArray[np.uint32]
    shift: np.uint64

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of `hashes` have an entry, and the place in the first such entry of each."""
        buckets = (hashes >> self.shift).view(np.intp)
        at, end = self.starts.take(buckets), self.starts.take(buckets + 1)
        left = np.flatnonzero(end > at)
        at, end, keys = at[left], end[left], hashes[left] & _KEY
        found, ranks = [], []
        for _ in range(ROUNDS):
            same = self.entries.take(at) & _KEY == keys
            found.append(left[same])
            ranks.append(at[same])
            more = np.flatnonzero(~same & (at + 1 < end))
            left, at, end, keys = left[more], at[more] + 1, end[more], keys[more]
        rank = np.minimum(self.entries.searchsorted(keys), max(0, len(self.entries) - 1))
        same = self.entries.take(rank) & _KEY == keys
        which = np.concatenate([*found, left[same]])
        order = np.argsort(which)
        places = self.entries.take(np.concatenate([*ranks, rank[same]]).astype(np.intp)) & ~_KEY
        return which[order], places.astype(np.intp)[order]


class Aligner:
    """Aligns areas of `new` with `old`. Building the index of `old` waits until something needs it."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._files = old, new
        self._old = np.frombuffer(old, np.uint8)
        self._new = np.frombuffer(new, np.uint8)
        self._hits: dict[int, NDArray[np.uint16]] = {}
        self.style = Style(24, 1)

    def pieces(self, start: int, stop: int, old_at: int, next_old_at: int) -> Iterator[Piece]:
        """Yield pieces that cover new[start:stop].

        `old_at` is where the old file would go on after what precedes, `next_old_at` where what follows begins.
        """
        at = start + self._forward(start, stop, old_at)
        if at > start:
            yield Piece(start, at, old_at)
        tail = stop - self._backward(at, stop, next_old_at)
        yield from self._seeded(at, tail, old_at + at - start)
        if tail < stop:
            yield Piece(tail, stop, next_old_at - (stop - tail))

    def share_found(self, places: NDArray[np.intp]) -> float:
        """Which share of `places` in the new file begin `SEED` bytes that occur somewhere in the old one."""
        if not len(places) or len(self._old) < SEED:
            return 0.0
        rows = self._new[np.minimum(places, len(self._new) - SEED)[:, None] + np.arange(SEED)]
        return len(self._found(rows.reshape(-1), SEED)) / len(places)

    def _seeded(self, at: int, stop: int, expected: int) -> Iterator[Piece]:
        done = at
        while stop - at >= self.style.shortest and (place := self._next_hit(at, stop)) is not None:
            old_at = self._origin(place, expected + place - done)
            back = self._backward(done, place, old_at)
            ahead = self._forward(place, stop, old_at)
            first, last = place - back, place + ahead
            if last - first >= self.style.shortest:
                if done < first:
                    yield Piece(done, first, None)
                yield Piece(first, last, old_at - back)
                done, expected = last, old_at + ahead
            at = max(last, place + 1)
        if done < stop:
            yield Piece(done, stop, None)

    def _next_hit(self, at: int, stop: int) -> int | None:
        """The first offset in new[at:stop] whose next `SEED` bytes occur in the old file."""
        while at + SEED <= stop:
            number = at // LOOK
            hits, base = self._hits_in(number), number * LOOK
            rank = int(hits.searchsorted(at - base))
            if rank < len(hits):
                place = base + int(hits[rank])
                return place if place + SEED <= stop else None
            at = base + LOOK
        return None

    def _hits_in(self, number: int) -> NDArray[np.uint16]:
        """The offsets that are found in the old file, among the `LOOK` of the new file from `number` times `LOOK`."""
        hits = self._hits.get(number)
        if hits is None:
            data = self._new[number * LOOK : (number + 1) * LOOK + SEED - 1]
            hits = self._hits[number] = self._found(data, 1).astype(np.uint16)
        return hits

    def _found(self, data: NDArray[np.uint8], stride: int) -> NDArray[np.intp]:
        """Which offsets of `data`, counted in strides, begin `SEED` bytes of the old file."""
        if not len(self._index.entries):
            return np.zeros(0, np.intp)
        likely, places = self._index.find(_hashes(data, stride))
        equal = _words(self._old, 1, 0)[places] == _words(data, stride, 0)[likely]
        found: NDArray[np.intp] = likely[equal]
        return found

    def _origin(self, place: int, expected: int) -> int:
        entries, key = self._index.entries, _hash_at(self._files[1], place)
        near = int(entries.searchsorted(np.uint64(key | min(max(0, expected), (1 << 32) - 1))))
        found = [int(entries[rank]) for rank in (near - 1, near) if 0 <= rank < len(entries)]
        choices = [entry & 0xFFFFFFFF for entry in found if entry >> 32 == key >> 32]
        return min(choices, key=lambda origin: abs(origin - expected))

    def _forward(self, at: int, stop: int, old_at: int) -> int:
        """How far new[at:stop] follows the old file from `old_at`."""
        limit = min(stop - at, len(self._old) - old_at) if old_at >= 0 else 0
        return self._extent(at, old_at, limit, 1) if limit > 0 else 0

    def _backward(self, start: int, at: int, old_at: int) -> int:
        """How far new[start:at], read backwards, follows the old file before `old_at`."""
        limit = min(at - start, old_at) if old_at <= len(self._old) else 0
        return self._extent(at, old_at, limit, -1) if limit > 0 else 0

    def _extent(self, at: int, old_at: int, limit: int, step: int) -> int:
        """How far the files agree, at most `limit` bytes, bridging changes while equal bytes outweigh them."""
        best = best_score = score = start = 0
        count = FIRST_LOOK
        while start < limit:
            count = min(count, limit - start)
            equal = self._equal(at + step * start, old_at + step * start, count, step)
            if equal is None:
                score += count
                if score > best_score:
                    best, best_score = start + count, score
                start, count = start + count, min(4 * count, WINDOW)
                continue
            scores = np.where(equal, 1, -self.style.penalty).cumsum(dtype=np.int32)
            scores += score
            peaks = np.maximum.accumulate(np.maximum(scores, best_score))
            lost = int((peaks - scores > PATIENCE).argmax()) if int(peaks[-1]) - int(scores.min()) > PATIENCE else 0
            reach = lost or (0 if int(peaks[0]) - int(scores[0]) > PATIENCE else count)
            if reach and int(peaks[reach - 1]) > best_score:
                top = int(scores[:reach].argmax())
                best, best_score = start + top + 1, int(scores[top])
            if reach < count:
                break
            score, start, count = int(scores[-1]), start + count, min(4 * count, WINDOW)
        return best

    def _equal(self, at: int, old_at: int, count: int, step: int) -> NDArray[np.bool_] | None:
        """Which of the next bytes are equal, in the direction of `step`; None if all are."""
        first, old_first = (at, old_at) if step > 0 else (at - count, old_at - count)
        old, new = self._files
        if old[old_first : old_first + count] == new[first : first + count]:
            return None
        equal: NDArray[np.bool_] = self._old[old_first : old_first + count] == self._new[first : first + count]
        return equal[::step]

    @cached_property
    def _index(self) -> _Index:
        size = len(self._old)
        stride = next((stride for limit, stride in STRIDES if size <= limit), LONGEST_STRIDE)
        count = max(0, -(-(size - SEED + 1) // stride))
        entries = np.empty(count, np.uint64)
        for first in range(0, count, WINDOW):
            some = slice(first, min(first + WINDOW, count))
            hashes = _hashes(self._old[first * stride :], stride, some.stop - first)
            entries[some] = (hashes & _KEY) | (np.arange(first, some.stop, dtype=np.uint64) * np.uint64(stride))
        entries.sort()
        bits = max(8, count.bit_length())
        counts = np.bincount((entries >> np.uint64(64 - bits)).view(np.intp), minlength=1 << bits)
        starts = np.zeros(len(counts) + 1, np.uint32)
        np.cumsum(counts, out=starts[1:], dtype=np.uint32)
        return _Index(entries, starts, np.uint64(64 - bits))


def _words(data: NDArray[np.uint8], stride: int, at: int) -> NDArray[np.uint64]:
    """The eight bytes from every offset at + n * stride of `data` as numbers, without a copy."""
    count = max(0, (len(data) - at - 8) // stride + 1)
    return np.ndarray((count,), np.dtype("<u8"), data.data, at, (stride,))


def _hashes(data: NDArray[np.uint8], stride: int, most: int | None = None) -> NDArray[np.uint64]:
    """A 64-bit hash of the `SEED` bytes at each of the first `most` offsets n * stride of `data`."""
    if len(data) < SEED:
        return np.zeros(0, np.uint64)
    second = _words(data, stride, SEED - 8)[:most]
    mixed: NDArray[np.uint64] = _words(data, stride, 0)[: len(second)] * np.uint64(_FIRST)
    mixed += second * np.uint64(_SECOND)
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _hash_at(data: bytes, place: int) -> int:
    """The key of the hash of the bytes at `place`, as it stands in an entry of the index."""
    low, high = (int.from_bytes(data[at : at + 8], "little") for at in (place, place + 8))
    mixed = (low * _FIRST + high * _SECOND) & _WORD
    return (mixed ^ mixed >> 29) & int(_KEY)
