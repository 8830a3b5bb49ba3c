"""95 % intervals of what was measured on samples: of shares by formula, of other figures by resampling. Pure."""

import math
from collections.abc import Callable

import numpy as np

from skerry_agent.processing import Array

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % of it lie within."""
RESAMPLES = 100
SEED = 0


def wilson(right: int, samples: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson, JASA 22, 1927), which stays inside 0..1 even at its ends."""
    share, square = right / samples, Z95**2
    centre = (share + square / (2 * samples)) / (1 + square / samples)
    half = Z95 / (1 + square / samples) * math.sqrt(share * (1 - share) / samples + square / (4 * samples**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrapped(value_of: Callable[[Array], float], samples: int) -> tuple[float, float]:
    """The 95 % interval of a figure of all samples: `value_of` gives it for samples drawn with replacement, by index.

    The percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), always with
    the same draws: the same samples give the same interval.
    """
    rng = np.random.default_rng(SEED)
    values = [value_of(rng.integers(0, samples, samples)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
