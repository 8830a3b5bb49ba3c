"""Codes a long run of old bytes with scattered changes as a grid of bytes whose rows carry their density.

It is for bytes that no parser knows. It finds no runs, and leaves to ADD extents what they say in fewer bits.
"""

import numpy as np
from numpy.typing import NDArray

from skerry_host.patch.changes import Changes
from skerry_host.patch.cost import entropy_bits
from skerry_host.patch.grid import UNCHANGED, Fit
from skerry_host.patch.sections import estimated_size

COLS, FEW_COLS = 1024, 256
FEWEST = 96  # changes below which a grid never earns its histograms
FEW_BYTES = 1 << 20  # more that hold few changes take longer to code than the bytes are worth
ENOUGH = 256  # changes below which rows are all of one density
LEVELS = 16  # octaves of the mean change, from one step a row
OVERHEAD_BITS, FEW_OVERHEAD_BITS = 1200.0, 600.0
LOSS_OF_RUNS = 1.12  # what LZMA takes for runs beyond the entropy of their fields

Bytes = NDArray[np.uint8]


def as_grid(before: Bytes, after: Bytes) -> Fit | None:
    """The grid of the whole rows of `after`, where that is cheaper than its changes as runs."""
    changes = int(np.count_nonzero(before != after))
    if changes < (FEWEST if len(after) <= FEW_BYTES else ENOUGH):
        return None
    cols = COLS if changes >= ENOUGH else FEW_COLS
    rows = len(after) // cols
    old, new = (part[: rows * cols].reshape(rows, cols) for part in (before, after))
    change = new - old
    if np.count_nonzero(change) < FEWEST:  # the rest, which fills no row, may hold them
        return None
    levels = _levels(change) if changes >= ENOUGH else np.where(change.any(axis=1), 0, UNCHANGED).astype(np.int32)
    if _grid_bits(change, levels) > _most_bits(change.reshape(-1), changes):
        return None
    fit = Fit(new, old, 0, across=False)
    fit.reset()
    fit.levels = levels
    return fit


def levels_in(room: int) -> int:
    """How many levels fit into `room` contexts beside that of the rows; 0 if too few do."""
    return min(LEVELS, room - 1) if room > LEVELS // 2 else 0


def _most_bits(change: Bytes, changes: int) -> float:
    """What a grid of `change` may take to be worth it. Few changes are packed as runs, to be sure."""
    if changes >= ENOUGH:
        return LOSS_OF_RUNS * _run_bits(change) - OVERHEAD_BITS
    runs, places = Changes(), np.flatnonzero(change)
    runs.add(places, change[places])
    return 8.0 * sum(map(estimated_size, runs.pack(1))) - FEW_OVERHEAD_BITS


def _levels(change: Bytes) -> NDArray[np.int32]:
    size = np.minimum(change, -change.view(np.int8).view(np.uint8)).sum(axis=1, dtype=np.int64)
    levels = np.where(size > 0, np.log2(np.maximum(size, 1)), UNCHANGED).astype(np.int32)
    return np.minimum(levels, LEVELS - 1)


def _grid_bits(change: Bytes, levels: NDArray[np.int32]) -> float:
    side = entropy_bits((levels + 1).astype(np.uint8))
    return side + sum(entropy_bits(change[levels == level]) for level in range(LEVELS))


def _run_bits(change: Bytes) -> float:
    places = np.flatnonzero(change)
    gaps = np.diff(places, prepend=-1)
    far = float(np.log2(np.maximum(gaps / 255, 1)).sum())
    return far + entropy_bits(np.minimum(gaps, 255).astype(np.uint8)) + entropy_bits(change[places])
