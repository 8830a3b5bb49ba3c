"""Collects what a payload codes, in the order in which the decoder will ask for it, then codes all of it at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skerry_agent.patch.container import pack_varint
from skerry_agent.patch.extents import MIN_ROUNDS
from skerry_agent.patch.histograms import ESCAPE
from skerry_agent.patch.symbols import MAX_NUMBERS
from skerry_agent.patch.weights import zigzag
from skerry_host.patch.histograms import fit
from skerry_host.patch.rans import Run, encode

MOST_LANES = 256
ROUND = 16  # symbols for each of which the decoder allows a round
BATCH = 1 << 16


@dataclass(frozen=True, slots=True)
class Coded:
    """The coded form: the shapes of the contexts, escaped bytes, raw bits, states and words.

    `entropy` is what the symbols would take, in bytes, if their histograms were known and fractions of bits free.
    """

    shapes: bytes
    escapes: bytes
    bits: bytes
    words: bytes
    entropy: float


def number_symbols(values: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """(symbols, low bits, how many low bits) of signed numbers, as `Symbols.numbers` reads them."""
    size = np.abs(values)
    klass = np.frexp(size.astype(np.float64))[1].astype(np.int64)  # exact below 2^53; 0 for 0
    low = np.maximum(klass - 2, 0)
    second = np.where(klass > 1, (size >> low) & 1, 0)
    symbols = (klass << 2) | (second << 1) | (values < 0)
    return symbols.astype(np.uint8), size & ((1 << low) - 1), low


def entropy_bytes(counts: NDArray[np.int64]) -> float:
    """The entropy of symbols counted as (contexts, 256), given their contexts, in bytes."""
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return float((counts * (np.log2(totals) - np.log2(np.maximum(counts, 1)))).sum()) / 8


@dataclass(slots=True)
class Recorder:
    """Runs of symbols with their contexts, one for each call that the decoder will make."""

    runs: list[Run] = field(default_factory=list)
    low: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)

    def symbols(self, contexts: NDArray[np.integer], symbols: NDArray[np.uint8]) -> None:
        """Record one run of symbols."""
        self.runs.append((contexts.astype(np.uint8), symbols))

    def small(self, values: NDArray[np.int32], context: int) -> None:
        """Record integers from -128 to 127 in one context."""
        self.symbols(np.full(len(values), context, np.uint8), zigzag(values))

    def numbers(self, values: NDArray[np.int64], context: int) -> None:
        """Record signed 32-bit numbers in one context, in the decoder's blocks."""
        for start in range(0, len(values), MAX_NUMBERS):
            symbols, low, lengths = number_symbols(values[start : start + MAX_NUMBERS])
            self.symbols(np.full(len(symbols), context, np.uint8), symbols)
            self.low.append((low, lengths))

    def code(self, contexts: int) -> Coded:
        """Everything coded with the best histograms for `contexts` contexts."""
        if not contexts:
            return Coded(pack_varint(0), b"", b"", b"", 0.0)
        counts = np.zeros((contexts, 256), np.int64)
        for where, symbols in _batches(self.runs):
            keys = where.astype(np.intp) << 8 | symbols
            counts += np.bincount(keys, minlength=counts.size).reshape(counts.shape)
        model = fit(counts)
        escapes = b"".join(_escaped(run, model.escapes) for run in self.runs)
        entropy = entropy_bytes(counts)
        # A lane costs three bytes and saves time; few symbols, or such as say little, can afford few.
        total = min(int(counts.sum()), 8 * int(entropy))
        lanes = int(np.clip(2 ** round(np.log2(max(1.0, total**0.75 / 70))), 4, MOST_LANES))
        # The decoder refuses twice as many rounds or more, and each takes its time.
        while lanes < MOST_LANES and self._rounds(lanes) > MIN_ROUNDS // 4 + int(counts.sum()) // (2 * ROUND):
            lanes *= 2
        words = encode(self.runs, model.frequencies, lanes)
        shapes = pack_varint(contexts) + pack_varint(model.symbols) + bytes([model.follow]) + model.plane
        return Coded(shapes, escapes, self._bits(), words, entropy)

    def _rounds(self, lanes: int) -> int:
        """How many rounds the decoder takes."""
        return sum(-(-len(symbols) // lanes) for _, symbols in self.runs)

    def _bits(self) -> bytes:
        pieces = [np.zeros(0, np.uint8)]
        for low, lengths in self.low:
            left = (low << (32 - lengths)).astype(">u4")
            grid = np.unpackbits(left.view(np.uint8)).reshape(-1, 32)
            pieces.append(grid[np.arange(32) < lengths[:, None]])
        return np.packbits(np.concatenate(pieces)).tobytes()


def _batches(runs: Sequence[Run]) -> Iterator[Run]:
    """The same symbols in fewer runs: what is done for each run costs as much for few symbols as for thousands."""
    waiting: list[Run] = []
    total = 0
    for run in runs:
        waiting.append(run)
        total += len(run[0])
        if total >= BATCH or run is runs[-1]:
            yield np.concatenate([part[0] for part in waiting]), np.concatenate([part[1] for part in waiting])
            waiting, total = [], 0


def _escaped(run: Run, escapes: NDArray[np.bool_]) -> bytes:
    """The symbols of `run` that escape, each of which is replaced by the escape."""
    contexts, symbols = run
    out = np.flatnonzero(escapes.reshape(-1).take(contexts.astype(np.intp) << 8 | symbols))
    found = symbols[out].tobytes()
    symbols[out] = ESCAPE
    return found
