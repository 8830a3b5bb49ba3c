"""Cheap bounds that say whether a candidate has lost before it is made. They estimate; they encode nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skerry_host.patch.cost import entropy_bits
from skerry_host.patch.floats import digest
from skerry_host.patch.model import Attempt, Files
from skerry_host.patch.regions import GridRegion, Regions, VectorRegion, WordsRegion
from skerry_host.patch.tensors import Floats

# A patch of a newer version costs a release a second one for old agents: it must be at most this share of the first.
WORTH = 0.95

PLACES = 512
ELSEWHERE = 0.02  # the share of sampled weights that may be found at another place in the old file
SEEN = 16


def has_lost(files: Files, regions: Regions, model: Attempt) -> bool:
    """Whether `bsdiff` cannot come below `model`: it shares the plain bytes, and codes the rest as changes in place."""
    fresh = sum(grid.size for grid in regions.grids if grid.source is None)
    if 2 * fresh <= len(files.new) and model.size > model.plain + _plain_bits(files, regions) / 8:
        return False
    return _moved_share(files, regions) < ELSEWHERE


def floats_say_little(files: Files, before: Sequence[Floats], after: Sequence[Floats], model: Attempt) -> bool:
    """Whether `typed` cannot save enough on `model`, even if the floats of `after` took no bytes at all."""
    known = {digest(files.old, grid) for grid in before}
    changed = sum(grid.size for grid in after if digest(files.new, grid) not in known)
    return changed < (1 - WORTH) * model.size


def _plain_bits(files: Files, regions: Regions) -> float:
    """The entropy of the bytes by which regions change, which plain streams do not reach."""
    bits = sum(entropy_bits(grid.fit.new - _before(grid)) for grid in regions.grids)
    old, new = (np.frombuffer(data, np.uint8) for data in (files.old, files.new))
    parts: list[VectorRegion | WordsRegion] = [*regions.pooled, *regions.words]
    changes = [new[part.at : part.at + part.size] - old[part.old_at : part.old_at + part.size] for part in parts]
    return bits + (entropy_bits(np.concatenate(changes)) if changes else 0.0)


def _before(grid: GridRegion) -> NDArray[np.uint8]:
    return np.zeros(1, np.uint8) if grid.fit.old is None else grid.fit.old


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
