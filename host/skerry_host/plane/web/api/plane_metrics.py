"""The families of the plane and of the fleet as a whole, made by prometheus-client. None has a line a device."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from skerry_host.plane.registry.records.alarms import CLONED, TAMPERING
from skerry_host.plane.registry.telemetry.totals import BOUNDS_S, ModelTotals
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.ended import Key
from skerry_host.plane.views.views import NewestFigures

MESSAGES = ("accepted", "duplicate", "unknown", "malformed", "too_many", "dropped")
PIECES = ("answered", "malformed", "not_needed", "too_many", "unreadable")
Labelled = TypeVar("Labelled", CounterMetricFamily, GaugeMetricFamily)
STATES = ("online", "offline", "never_seen")
MODEL = ("model", "release")
ALARMS = (CLONED, TAMPERING)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is exported: from one consistent state of the registry, and what the plane has counted."""

    devices: Sequence[NewestFigures]
    counters: Counters
    active_rollouts: int = 0
    reports_missing: int = 0
    ended: Mapping[Key, int] = field(default_factory=dict)
    releases: frozenset[str] = frozenset()
    alarms: Mapping[str, int] = field(default_factory=dict)


class PlaneMetrics:
    """What Prometheus's client collects for one answer."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._plane()
        yield from self._messages()
        yield from self._fleet()
        yield from self._deployments()
        yield from _models(self._figures.counters.models)

    def _plane(self) -> Iterator[Metric]:
        counters = self._figures.counters
        yield _labelled(GaugeMetricFamily("skerry_build_info", "1; the version of the plane.", labels=["version"]),
                        {(version("skerry-host"),): 1.0})  # fmt: skip
        yield _gauge("skerry_plane_start_time_seconds", "When the plane started.", counters.started or None)
        words = "When the plane last worked through its rollouts and orders."
        yield _gauge("skerry_plane_last_tick_timestamp_seconds", words, counters.ticked or None)
        yield _gauge("skerry_broker_connected", "1 while the plane is connected to its broker.", counters.connected)
        yield _counter("skerry_broker_connections", "How often the plane has connected.", counters.connections)
        words = "Topic and payload bytes that the plane published."
        yield _counter("skerry_published_bytes", words, counters.published_bytes)

    def _messages(self) -> Iterator[Metric]:
        messages, pieces = self._figures.counters.messages, self._figures.counters.answers
        yield _labelled(
            CounterMetricFamily("skerry_messages", "Messages of devices by result.", labels=["result"]),
            {(result,): messages.get(result, 0) for result in MESSAGES},
        )
        words = "Messages that have arrived and are not written yet."
        yield _gauge("skerry_messages_waiting", words, self._figures.counters.waiting)
        yield _labelled(
            CounterMetricFamily("skerry_asked_pieces", "Pieces of blobs that devices requested.", labels=["result"]),
            {(result,): pieces.get(result, 0) for result in PIECES},
        )
        words = "Telemetry reports that have not come though later ones have: lost, or still on their device."
        yield _gauge("skerry_telemetry_reports_missing", words, self._figures.reports_missing)

        words = "Telemetry reports that devices, of those that report now, have discarded since their agents started."
        dropped = sum(each.interval.outbox_dropped for each in self._figures.devices if each.interval)
        yield _gauge("skerry_telemetry_reports_dropped", words, dropped)

    def _fleet(self) -> Iterator[Metric]:
        counted = Counter(_state(each) for each in self._figures.devices)
        yield _labelled(
            GaugeMetricFamily("skerry_devices", "Enrolled devices by state.", labels=["state"]),
            {(state,): counted[state] for state in STATES},
        )
        sounding = self._figures.alarms
        yield _labelled(
            GaugeMetricFamily("skerry_device_alarms", "Devices that a person must look at, by why.", labels=["alarm"]),
            {(kind,): sounding.get(kind, 0) for kind in ALARMS},
        )

    def _deployments(self) -> Iterator[Metric]:
        yield _gauge("skerry_rollouts_active", "Rollouts that have not ended.", self._figures.active_rollouts)
        labels = ["model", "outcome", "reason"]
        yield _labelled(CounterMetricFamily("skerry_deployments_ended", "Deployments that have ended.", labels=labels),
                        self._figures.ended)  # fmt: skip
        models = {release.partition("@")[0] for release in self._figures.releases}
        back: Counter[tuple[str, ...]] = Counter({(model,): 0 for model in models})
        for (model, outcome, _), count in self._figures.ended.items():
            back[model,] += count if outcome == "rolled_back" else 0
        words = "Deployments that ended in a rollback, whoever ordered it."
        yield _labelled(CounterMetricFamily("skerry_rollbacks", words, labels=["model"]), back)


def _models(models: Mapping[tuple[str, str], ModelTotals]) -> Iterator[Metric]:
    """What devices report, added up since the plane started."""
    for name, words, value in _COUNTS:
        yield _labelled(CounterMetricFamily(name, words, labels=MODEL), {k: value(of) for k, of in models.items()})
    words = "Energy of inferences in intervals for which it is known, by source: measured or modelled."
    energy = CounterMetricFamily("skerry_inference_energy_joules", words, labels=[*MODEL, "source"])
    yield _labelled(energy, {(*key, source): j for key, of in models.items() for source, j in of.energy_j.items()})
    latency = HistogramMetricFamily("skerry_inference_duration_seconds", "Latency of inferences.", labels=MODEL)
    for key, of in models.items():
        latency.add_metric(list(key), _cumulated(of.buckets), of.latency_s)
    yield latency


_COUNTS: tuple[tuple[str, str, Callable[[ModelTotals], int]], ...] = (
    ("skerry_inferences", "Inferences that devices report.", lambda of: of.inferences),
    ("skerry_inference_errors", "Inferences that failed.", lambda of: of.errors),
    ("skerry_input_errors", "Inputs that no model could have answered.", lambda of: of.input_errors),
    ("skerry_invalid_outputs", "Inferences with an output that is NaN or infinite.", lambda of: of.invalid_outputs),
    ("skerry_dropped_inputs", "Inputs that came while the queue was full.", lambda of: of.dropped),
)


def _cumulated(buckets: Iterable[int]) -> list[tuple[str, float]]:
    """Counts up to each bound, as a classic histogram has them."""
    counts, total = [], 0
    for bound, count in zip((*map(repr, BOUNDS_S), "+Inf"), buckets, strict=True):
        total += count
        counts.append((bound, float(total)))
    return counts


def _state(seen: NewestFigures) -> str:
    if seen.last_seen is None:
        return "never_seen"
    return "online" if seen.online else "offline"


def _gauge(name: str, words: str, value: float | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _counter(name: str, words: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, words, value=value)


def _labelled(family: Labelled, rows: "Mapping[Any, float]") -> Labelled:
    """The family with a line for each tuple of its labels."""
    for labels, value in rows.items():
        family.add_metric(list(labels), float(value))
    return family
