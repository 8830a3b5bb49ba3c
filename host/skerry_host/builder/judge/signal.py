"""Signal and noise in decibels: the SQNR of one array of real values against another. Pure arithmetic."""

import math

import numpy as np

from skerry_agent.processing import Array
from skerry_host.builder.recipe.through_sigmoid import SATURATED

PART = 1 << 17
CEILING_DB = 200.0
"""Written in place of infinity, which JSON does not have."""


def sqnr_db(reference: Array, got: Array) -> float:
    """Signal to quantization noise in decibels: 10 log10(sum of squares / sum of squared differences).

    Infinite where nothing differs, minus infinite where the reference is all zero or something is not finite.
    """
    return decibels(*energies(reference, got))


def as_seen(values: Array) -> Array:
    """Values as a sigmoid tells them apart; what is not finite stays so."""
    seen: Array = np.clip(values, -SATURATED, SATURATED, where=np.isfinite(values), out=values.copy())
    return seen


def energies(reference: Array, got: Array) -> tuple[float, float]:
    """The energy of a reference and of what differs from it: sums of squares.

    A part at a time: the answers to all samples would be copied three times in double precision.
    """
    signal = noise = 0.0
    flat, other = reference.reshape(-1), got.reshape(-1)
    for start in range(0, len(flat), PART):
        wide = flat[start : start + PART].astype(np.float64)
        signal += float(np.square(wide).sum())
        noise += float(np.square(wide - other[start : start + PART]).sum())
    return signal, noise


def decibels(signal: float, noise: float) -> float:
    """The ratio of two energies in decibels; see `sqnr_db` for its limits."""
    if not math.isfinite(signal + noise) or (signal == 0 and noise > 0):
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
