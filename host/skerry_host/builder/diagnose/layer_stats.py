"""The statistics of one layer: an activation of the int8 model against the float model's, over samples. Pure."""

from math import isfinite, sqrt

import numpy as np
from msgspec import Struct

from skerry_agent.processing import Array
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.judge.signal import CEILING_DB, decibels

_Span = tuple[Array, Array, Array, Array]
"""Of each channel the least and the largest value of the float model, and of the other one."""
BLOCK = 1 << 13
"""Values that are widened at a time: they stay near the processor, and no library splits their sums over threads."""
LANES = 256
"""Values that extremes are taken of side by side."""


class LayerStats(Struct, frozen=True):
    """One activation of the int8 model, in the order of execution, compared with the float model's of the same name.

    `sqnr_db`: signal to quantization noise, at most `CEILING_DB` either way. `cosine`: of the two as vectors.
    `clipped`: the share of values that lie outside of the integers' range by over half a step. `dead`: channels
    (last axis) that vary in the float model but are constant here, of `channels`; `silent`: those constant in both.
    `crest`: the largest value over the root mean square: high where a few outliers stretch the range. `fall_db`: how
    much less signal comes out than goes in, of the inputs the one with the least.
    """

    index: int
    op: str
    tensor: str
    sqnr_db: float
    cosine: float
    clipped: float
    dead: int
    silent: int
    channels: int
    crest: float
    fall_db: float

    @property
    def name(self) -> str:
        """The first of the names that converters chain when they fuse."""
        return self.tensor.partition(";")[0]

    def __str__(self) -> str:
        return f"{self.op} {self.name} ({self.sqnr_db:.1f} dB)"


class LayerStatsCollector:
    """Collects the statistics of one activation, sample by sample."""

    def __init__(self, spec: TensorSpec) -> None:
        self._low, self._high = _limits(spec)
        self._signal = self._noise = self._dot = self._other = 0.0
        self._clipped = self._count = 0
        self._peak = 0.0
        self._span: _Span | None = None

    def add(self, reference: Array, got: Array) -> None:
        """One sample's real values."""
        spans = (*_channel_ranges(reference), *_channel_ranges(got))
        low, high, _dark, _bright = spans
        inside = bool(low.min(initial=np.inf) >= self._low and high.max(initial=-np.inf) <= self._high)
        ones, others = reference.reshape(-1), got.reshape(-1)
        for start in range(0, ones.size, BLOCK):
            self._add_block(ones[start : start + BLOCK], others[start : start + BLOCK], inside=inside)
        self._count += ones.size
        self._peak = max(self._peak, *(float(np.abs(end).max(initial=0.0)) for end in (low, high)))
        self._span = spans if self._span is None else _wider(self._span, spans)

    def _add_block(self, reference: Array, got: Array, *, inside: bool) -> None:
        """Some of a sample's values (n,); `inside`: none of the whole sample's is clipped."""
        a, b = reference.astype(np.float64), got.astype(np.float64)
        self._signal += float(a @ a)
        self._other += float(b @ b)
        self._dot += float(a @ b)
        if not inside:
            self._clipped += int(np.count_nonzero((a < self._low) | (a > self._high)))
        a -= b
        self._noise += float(a @ a)

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, at most `CEILING_DB` either way."""
        return max(-CEILING_DB, min(CEILING_DB, decibels(self._signal, self._noise)))

    def layer(self, index: int, op: str, name: str, fall: float) -> LayerStats:
        """The statistics so far."""
        assert self._span is not None
        low, high, dark, bright = self._span
        moves, still = high > low, dark == bright
        norm = sqrt(self._signal * self._other)
        rms = sqrt(self._signal / self._count) if self._count and isfinite(self._signal) else 0.0
        return LayerStats(
            index=index,
            op=op,
            tensor=name,
            sqnr_db=self.sqnr_db,
            cosine=self._dot / norm if norm else float(self._noise == 0),
            clipped=self._clipped / max(1, self._count),
            dead=int((moves & still).sum()),
            silent=int((~moves & still).sum()),
            channels=len(low),
            crest=self._peak / rms if rms else 0.0,
            fall_db=fall,
        )


def _limits(spec: TensorSpec) -> tuple[float, float]:
    """The real values that the tensor's integers reach, half a step more on either side."""
    if not spec.scale:
        return -np.inf, np.inf
    limits = np.iinfo(spec.dtype)
    return ((limits.min - spec.zero_point - 0.5) * spec.scale, (limits.max - spec.zero_point + 0.5) * spec.scale)


def _wider(one: _Span, other: _Span) -> _Span:
    """The extremes of two samples."""
    pick = (np.minimum, np.maximum, np.minimum, np.maximum)
    low, high, dark, bright = (choose(x, y) for choose, x, y in zip(pick, one, other, strict=True))
    return low, high, dark, bright


def _channel_ranges(values: Array) -> tuple[Array, Array]:
    """Smallest and largest value of each channel (last axis)."""
    channels = values.shape[-1] if values.ndim else 1
    rows = values.reshape(-1, channels)
    together = max(1, min(len(rows), LANES // max(1, channels)))
    whole = len(rows) // together * together
    if together > 1:  # numpy takes a step for each row, however short it is
        wide, rest = rows[:whole].reshape(-1, together * channels), rows[whole:]
        lowest, highest = wide.min(axis=0), wide.max(axis=0)
        low_rows = np.concatenate([lowest.reshape(together, channels), rest])
        high_rows = np.concatenate([highest.reshape(together, channels), rest])
        return low_rows.min(axis=0), high_rows.max(axis=0)
    return rows.min(axis=0), rows.max(axis=0)
