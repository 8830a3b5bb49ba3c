"""Signal and noise in decibels: the SQNR of one array of real values against another. Pure arithmetic."""

import math

import numpy as np

from skerry_agent.processing import Array

CEILING_DB = 200.0
"""Written in place of infinity, which JSON does not have."""


def sqnr_db(reference: Array, got: Array) -> float:
    """Signal to quantization noise in decibels: 10 log10(sum of squares / sum of squared differences).

    Infinite where nothing differs, minus infinite where the reference is all zero or something is not finite.
    """
    return decibels(*energies(reference, got))


def energies(reference: Array, got: Array) -> tuple[float, float]:
    """The energy of a reference and of what differs from it: sums of squares."""
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(reference.astype(np.float64) - got.astype(np.float64)).sum())
    return signal, noise


def decibels(signal: float, noise: float) -> float:
    """The ratio of two energies in decibels; see `sqnr_db` for its limits."""
    if not math.isfinite(signal + noise) or (signal == 0 and noise > 0):
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
