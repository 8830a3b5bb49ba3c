"""Finds where plain bytes of the new file come from: runs of the old file, with or without scattered changes.

A greedy matcher in the manner of bsdiff (C. Percival, "Naive differences of executable code", 2003) over hashes of 16
bytes instead of a suffix array. It proposes pieces; it does not encode them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SEED = 16
WINDOW = 1 << 16
SIEVE_MASK = np.uint64((1 << 25) - 1)
FIRST_LOOK = 1 << 8
PATIENCE = 48  # score that an extension may lose before it gives up


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


class Aligner:
    """Aligns areas of `new` with `old`. Building the index of `old` waits until something needs it."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old = np.frombuffer(old, np.uint8)
        self._new = np.frombuffer(new, np.uint8)
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
        hashes, _, sieve = self._index
        count = FIRST_LOOK
        while at + SEED <= stop:
            window = _hashes(self._new[at : min(at + count + SEED - 1, stop)])
            likely = np.flatnonzero(sieve[window & SIEVE_MASK])
            ranks = np.minimum(np.searchsorted(hashes, window[likely]), len(hashes) - 1)
            found = likely[hashes[ranks] == window[likely]]
            if len(found):
                return at + int(found[0])
            at, count = at + count, min(4 * count, WINDOW)
        return None

    def _origin(self, place: int, expected: int) -> int:
        hashes, order, _ = self._index
        key = _hashes(self._new[place : place + SEED])[0]
        low, high = np.searchsorted(hashes, key, "left"), np.searchsorted(hashes, key, "right")
        near = low + int(np.searchsorted(order[low:high], expected))
        choices = [int(order[i]) for i in (near - 1, near) if low <= i < high]
        return min(choices, key=lambda origin: abs(origin - expected))

    def _forward(self, at: int, stop: int, old_at: int) -> int:
        limit = min(stop - at, len(self._old) - old_at) if old_at >= 0 else 0
        return _extent(self._new[at:], self._old[max(0, old_at) :], limit, self.style.penalty)

    def _backward(self, start: int, at: int, old_at: int) -> int:
        limit = min(at - start, old_at) if old_at <= len(self._old) else 0
        return _extent(self._new[:at][::-1], self._old[: max(0, old_at)][::-1], limit, self.style.penalty)

    @cached_property
    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.bool_]]:
        """Sorted hashes of the old file, their offsets, and a sieve that most foreign hashes do not pass."""
        hashes = _hashes(self._old)
        order = np.argsort(hashes, kind="stable")
        sieve = np.zeros(int(SIEVE_MASK) + 1, np.bool_)
        sieve[hashes & SIEVE_MASK] = True
        return hashes[order], order, sieve


def _extent(new: NDArray[np.uint8], old: NDArray[np.uint8], limit: int, penalty: int) -> int:
    """How far `new` follows `old`, at most `limit` bytes, bridging changes while equal bytes outweigh them."""
    best = best_score = score = start = 0
    count = FIRST_LOOK
    while start < limit:
        count = min(count, limit - start)
        equal = new[start : start + count] == old[start : start + count]
        scores = score + np.cumsum(np.where(equal, 1, -penalty))
        peaks = np.maximum.accumulate(np.maximum(scores, best_score))
        lost = np.flatnonzero(peaks - scores > PATIENCE)
        reach = int(lost[0]) if len(lost) else count
        if reach and int(scores[:reach].max()) > best_score:
            top = int(np.argmax(scores[:reach]))
            best, best_score = start + top + 1, int(scores[top])
        if reach < count:
            break
        score, start, count = int(scores[-1]), start + count, min(4 * count, WINDOW)
    return best


def _hashes(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A 64-bit hash of the `SEED` bytes at every offset of `data`."""
    count = len(data) - SEED + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    words = np.lib.stride_tricks.sliding_window_view(data, 8).copy().view("<u8").reshape(-1)
    mixed: NDArray[np.uint64] = words[:count] * np.uint64(0x9E3779B97F4A7C15)
    mixed += words[8 : 8 + count] * np.uint64(0xC2B2AE3D27D4EB4F)
    return mixed ^ (mixed >> np.uint64(29))
