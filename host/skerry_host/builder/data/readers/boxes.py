"""Boxes of a sample: put into 0..1, clipped at its edges, refused where they are far outside. Pure.

A box that is a little outside was rounded by some tool; one that is far outside was made for another image or in
another unit, and a model judged by it would be judged wrongly.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.data.readers.base import NO_CLASS, DamagedError

TOLERANCE = 0.02
"""Of the image's side: what a box may reach outside, and is clipped."""

Corners = tuple[float, float, float, float]


def boxes_of(rows: Sequence[tuple[int, Corners]]) -> Array:
    """Rows (class, top, left, bottom, right in 0..1) as float32 (M, 5), without empty ones; raises `DamagedError`."""
    kept = []
    for index, corners in rows:
        low, high = min(corners), max(corners)
        if not np.isfinite(corners).all() or low < -TOLERANCE or high > 1 + TOLERANCE:
            sides = ", ".join(f"{value:.3g}" for value in corners)
            raise DamagedError(f"has a box outside of the image: top, left, bottom, right are {sides} of its size")
        top, left, bottom, right = (min(1.0, max(0.0, value)) for value in corners)
        if bottom > top and right > left:
            kept.append((index, top, left, bottom, right))
    return np.array(kept, np.float32).reshape(-1, 5)


def rarest(found: Sequence[Sequence[int]]) -> list[int]:
    """For each sample the class of its boxes that is rarest in the whole set, `NO_CLASS` where it has none."""
    counts = Counter(index for indices in found for index in indices)
    return [min(indices, key=lambda index: (counts[index], index), default=NO_CLASS) for indices in found]
