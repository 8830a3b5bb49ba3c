"""Histograms of activations, and where to clip them. Pure numpy; runs no model."""

import numpy as np

from skerry_agent.processing import Array

BINS = 2048
STEPS = 255
"""Steps of an 8-bit range."""
ENOUGH = 1 << 17
"""Values of one array: among so many, one in ten thousand still shows."""
SHRINK = np.linspace(0.05, 1.0, 39)
"""The shares of a range's two ends that are tried."""


class Histogram:
    """Counts of values between `low` and `high`, which must differ, in bins of equal width."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: Array) -> None:
        """Count values (any shape), every so many places of a large array; those outside go to the bins at the ends."""
        scaled = _some(values) - np.float32(self.low)
        scaled *= np.float32(BINS / (self.high - self.low))
        np.clip(scaled, 0, BINS - 1, out=scaled)
        self.counts += np.bincount(scaled.astype(np.int32), minlength=BINS)

    @property
    def centres(self) -> Array:
        """The middle of each bin (BINS,)."""
        width = (self.high - self.low) / BINS
        return self.low + width * (np.arange(BINS) + 0.5)


def clip_by_share(histogram: Histogram, share: float) -> tuple[float, float]:
    """The range that leaves out at most 1 - `share` of the values at each end; zero is always inside."""
    total = int(histogram.counts.sum())
    below = np.cumsum(histogram.counts)
    width = (histogram.high - histogram.low) / BINS
    high = histogram.low + width * (int(np.searchsorted(below, share * total)) + 1)
    low = histogram.low + width * int(np.searchsorted(below, (1 - share) * total, side="right"))
    return min(low, 0.0), max(min(high, histogram.high), 0.0)


def clip_by_error(histogram: Histogram) -> tuple[float, float]:
    """The range whose 8-bit quantization has the least mean squared error: rounding inside, clipping outside.

    Rounding to steps of width d has variance d^2 / 12.
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    lows, highs = min(histogram.low, 0.0) * SHRINK, max(histogram.high, 0.0) * SHRINK
    above = np.array([(counts * np.square(np.maximum(centres - end, 0))).sum() for end in highs])
    below = np.array([(counts * np.square(np.maximum(end - centres, 0))).sum() for end in lows])
    rounding = counts.sum() * np.square((highs[None, :] - lows[:, None]) / STEPS) / 12
    error = rounding + above[None, :] + below[:, None]
    at_low, at_high = np.unravel_index(int(error.argmin()), error.shape)
    return float(lows[at_low]), float(highs[at_high])


def _some(values: Array) -> Array:
    """About `ENOUGH` values (n,), at some places all channels (the last axis): each channel has its own range.

    The step is odd, so that it runs over every column of a map.
    """
    if values.size <= ENOUGH:
        return values.ravel()
    places: Array = values.reshape(-1, values.shape[-1])[:: values.size // ENOUGH | 1]
    return places.ravel()
