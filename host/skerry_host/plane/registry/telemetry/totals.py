"""What all devices together have inferred since this process began, by model and release: what Prometheus counts.

Each report that is new is added once. Only releases that a rollout has named have figures of their own: a device's word
alone makes no new line. Written by one thread, read by another; holds no history and asks no registry.
"""

import math
import threading
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from skerry_agent.wire.sketch import GAMMA, Sketch
from skerry_agent.wire.telemetry import ModelStats, Report

OTHER = "other"
BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets of latency. They are a promise: another bound makes other quantiles of old figures."""
_LAST_BUCKETS = tuple(math.floor(math.log(bound * 1e6) / math.log(GAMMA) + 0.5) for bound in BOUNDS_S)
"""The last bucket of a sketch whose midpoint is within each bound; so a value is counted right, or 1 % beside it."""


@dataclass(slots=True)
class ModelTotals:
    """Of one release: counts, seconds of latency and joules by source; `buckets` has one more than `BOUNDS_S`."""

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    dropped: int = 0
    latency_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    energy_j: dict[str, float] = field(default_factory=dict)
    input_errors: int = 0

    def add(self, stats: ModelStats) -> None:
        """Count one interval of one device."""
        self.inferences += stats.inferences
        self.errors += stats.errors
        self.input_errors += stats.input_errors
        self.invalid_outputs += stats.invalid_outputs
        self.dropped += stats.dropped
        self._add_latency(stats.latency)
        if stats.energy_uj is not None and stats.energy_source is not None:
            joules = stats.energy_uj * 1e-6 * stats.inferences
            self.energy_j[stats.energy_source] = self.energy_j.get(stats.energy_source, 0.0) + max(0.0, joules)

    def _add_latency(self, sketch: Sketch) -> None:
        self.latency_s += max(0.0, sketch.total) * 1e-6
        self.buckets[0] += sketch.zeros
        for index, count in sketch.buckets.items():
            self.buckets[bisect_left(_LAST_BUCKETS, int(index))] += count

    def copy(self) -> "ModelTotals":
        """As it is now."""
        counts = (self.inferences, self.errors, self.invalid_outputs, self.dropped)
        return ModelTotals(*counts, self.latency_s, list(self.buckets), dict(self.energy_j), self.input_errors)


class FleetTotals:
    """By (model, release); both are `other` where no rollout has named the release."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[tuple[str, str], ModelTotals] = {}

    def add(self, reports: Iterable[Report], releases: Collection[str]) -> None:
        """Count reports that are new; `releases` are those that have figures of their own."""
        with self._lock:
            for report in reports:
                for stats in report.models:
                    self._of.setdefault(named(stats.release, releases), ModelTotals()).add(stats)

    def snapshot(self) -> dict[tuple[str, str], ModelTotals]:
        """As they are now."""
        with self._lock:
            return {key: totals.copy() for key, totals in sorted(self._of.items())}


def named(release: str, releases: Collection[str]) -> tuple[str, str]:
    """The labels of a release: its model and itself, or neither."""
    return (release.partition("@")[0], release) if release in releases else (OTHER, OTHER)
