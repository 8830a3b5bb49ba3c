"""Cheap bounds that say whether a candidate has lost before it is made. They estimate; they encode nothing."""

import numpy as np
from numpy.typing import NDArray

from skerry_host.patch.cost import entropy_bits
from skerry_host.patch.model import Attempt, Files
from skerry_host.patch.regions import GridRegion, Regions

PLACES = 512
ELSEWHERE = 0.02  # the share of sampled weights that may be found at another place in the old file
LEAST = 0.9  # of the entropy of single bytes, which is about what plain streams come to
SEEN = 16


def has_lost(files: Files, regions: Regions, model: Attempt) -> bool:
    """Whether `bsdiff` cannot come below `model`: it shares the plain bytes, and codes grids as changes in place."""
    bits = sum(_plain_bits(grid) for grid in regions.grids)
    if model.size > model.plain + LEAST * bits / 8:
        return False
    return _moved_share(files, regions) < ELSEWHERE


def _plain_bits(grid: GridRegion) -> float:
    old = np.uint8(0) if grid.fit.old is None else grid.fit.old
    return entropy_bits(grid.fit.new - old)


def _moved_share(files: Files, regions: Regions) -> float:
    """Which share of places in grids go on as another place of the old file does."""
    places = [_places(grid, max(1, PLACES * grid.size // len(files.new))) for grid in regions.grids]
    if not places:
        return 1.0
    old, new = (np.frombuffer(data, np.uint8) for data in (files.old, files.new))
    at, origin = (np.concatenate(column) for column in zip(*places, strict=True))
    inside = (origin >= 0) & (origin + SEEN <= len(old)) & (at + SEEN <= len(new))
    at, origin = at[inside], origin[inside]
    if not len(at):
        return 1.0
    reach = np.arange(SEEN)
    moved = at[(old[origin[:, None] + reach] != new[at[:, None] + reach]).any(axis=1)]
    return files.aligner.share_found(moved) * len(moved) / len(at)


def _places(grid: GridRegion, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Evenly spread places of `grid`, and where the old file would go on in place."""
    spread = np.linspace(0, grid.size - 1, count).astype(np.intp)
    return grid.at + spread, (grid.source[0] if grid.source else 0) + spread
