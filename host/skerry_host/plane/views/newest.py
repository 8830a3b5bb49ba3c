"""Each device's newest interval, kept in memory between two questions: only what has come since is read and unpacked.

May be forgotten at any time. Holds no history.
"""

import threading

from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import ModelStats
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures, StoredReport
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.views import NewestInterval, NewestModel, SampleView


class NewestIntervals:
    """Asked by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, tuple[int, int]] = {}
        self._known: dict[str, NewestInterval] = {}

    def read(self, session: Session) -> dict[str, NewestInterval]:
        """By device; devices without a report are left out."""
        with self._lock:
            store = SqlTelemetry(session)
            heads = store.heads()
            changed = [device for device, head in heads.items() if self._heads.get(device) != head]
            fresh = {device: _newest(report) for device, report in store.newest(changed).items()}
            known = self._known | fresh
            self._known = {device: known[device] for device in heads if device in known}
            self._heads = {device: heads[device] for device in self._known}
            return self._known


def rate(interval: Interval, stats: ModelStats) -> float:
    """Inferences per second of an interval."""
    return stats.inferences / interval.duration_s if interval.duration_s > 0 else 0.0


def sample_view(sample: SampleFigures) -> SampleView:
    """One measurement to be shown."""
    bound = sample.relative_uncertainty
    return SampleView(sample.name, sample.value, sample.unit, sample.source, sample.method, bound)


def _newest(report: StoredReport) -> NewestInterval:
    interval = report.interval
    models = tuple(_model(interval, each) for each in interval.models)
    samples = tuple(map(sample_view, interval.samples))
    return NewestInterval(report.received, interval.duration_s, models, samples, interval.outbox_dropped)


def _model(interval: Interval, stats: ModelStats) -> NewestModel:
    p50, p95, p99 = stats.latency.quantiles(0.50, 0.95, 0.99)
    bound = stats.energy_relative_uncertainty
    energy = stats.energy_uj, stats.energy_source, bound
    return NewestModel(stats.model, stats.release, rate(interval, stats), p50, p95, p99, *energy)
