"""The fleet as Prometheus metrics. Figures per device carry its id; a value that is absent is left out, never 0.

So is one that is no longer current: Prometheus takes whatever is exported for a value of now.

The plane's own families are made by prometheus-client. Those with a line a device are written here, in its text format:
a fleet has tens of thousands of lines, and a scrape must not hold up the plane.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views import gather
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.views import NewestFigures
from skerry_host.plane.web.entry import Query
from skerry_host.text import clean

QUANTILES = ("0.5", "0.95", "0.99")
_UNSAFE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
LABELS = 65_536
"""Label values whose escaped form is kept."""


def answer(query: Query) -> Response:
    """All families, from one consistent state of the registry."""
    with query.registry.read() as session:
        seen = gather.newest_figures(session, query.newest, time.time())
        active = len(rollouts.active(session))
    text, kind = exposition(seen, active, query.counters())
    return Response(text, media_type=kind)


def exposition(seen: Sequence[NewestFigures], active_rollouts: int, counters: Counters) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Plane(counters, active_rollouts))
    lines = [line for family in (*_devices(seen), *_models(seen), _samples(seen)) for line in family.lines()]
    return generate_latest(registry) + "".join(lines).encode(), CONTENT_TYPE_PLAIN_0_0_4


class _Plane:
    """What Prometheus asks for the families without a device."""

    def __init__(self, counters: Counters, active_rollouts: int) -> None:
        self._counters, self._active_rollouts = counters, active_rollouts

    def collect(self) -> Iterator[Metric]:
        yield from _plane(self._counters)
        active = GaugeMetricFamily("skerry_rollouts_active", "Rollouts that have not ended.")
        active.add_metric([], self._active_rollouts)
        yield active


def _plane(counters: Counters) -> Iterator[Metric]:
    messages = CounterMetricFamily("skerry_messages", "Messages of devices by result.", labels=["result"])
    for result in ("accepted", "duplicate", "unknown", "malformed", "dropped"):
        messages.add_metric([result], counters.messages.get(result, 0))
    yield messages
    waiting = GaugeMetricFamily("skerry_messages_waiting", "Messages that have arrived and are not written yet.")
    waiting.add_metric([], counters.waiting)
    yield waiting
    pieces = CounterMetricFamily("skerry_asked_pieces", "Pieces of blobs that devices requested.", labels=["result"])
    for result in ("answered", "malformed", "not_needed", "too_many", "unreadable"):
        pieces.add_metric([result], counters.answers.get(result, 0))
    yield pieces
    sent = CounterMetricFamily("skerry_published_bytes", "Topic and payload bytes that the plane published.")
    sent.add_metric([], counters.published_bytes)
    yield sent
    connected = GaugeMetricFamily("skerry_broker_connected", "1 while the plane is connected to its broker.")
    connected.add_metric([], float(counters.connected))
    yield connected


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One family: the names of its labels, and (values of the labels, value) of each line; None is left out."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Iterable[tuple[tuple[str, ...], float | None]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}\n# TYPE {self.name} gauge\n"
        form = ",".join(f'{label}="%s"' for label in self.labels)
        form = f"{self.name}{{{form}}}"
        for values, value in self.rows:
            if value is not None:
                yield f"{form % tuple(map(_escaped, values))} {float(value)!r}\n"


@lru_cache(LABELS)
def _escaped(text: str) -> str:
    return clean(text.translate(_UNSAFE))


def _devices(seen: Sequence[NewestFigures]) -> Iterator[_Gauge]:
    yield _Gauge(
        "skerry_device_online",
        "1 while the device is connected.",
        ("device", "board"),
        (((each.device, each.board), each.online) for each in seen),
    )
    yield _Gauge(
        "skerry_device_last_seen_seconds",
        "When the device last sent a message.",
        ("device",),
        (((each.device,), each.last_seen) for each in seen),
    )


def _models(seen: Sequence[NewestFigures]) -> Iterator[_Gauge]:
    keyed = [((each.device, point.model, point.release), point) for each in seen for point in each.models]
    labels = ("device", "model", "release")
    latency = (
        ((*key, quantile), value)
        for key, point in keyed
        for quantile, value in zip(QUANTILES, (point.p50_us, point.p95_us, point.p99_us), strict=True)
    )
    yield _Gauge("skerry_latency_microseconds", "Latency of the newest interval.", (*labels, "quantile"), latency)
    rates = ((key, point.inferences_per_s) for key, point in keyed)
    yield _Gauge("skerry_inferences_per_second", "Inferences of the newest interval.", labels, rates)
    energy = (((*key, point.energy_source or ""), point.energy_uj) for key, point in keyed)
    yield _Gauge("skerry_energy_microjoules", "Energy per inference.", (*labels, "source"), energy)


def _samples(seen: Sequence[NewestFigures]) -> _Gauge:
    rows = (
        ((each.device, sample.name, sample.unit, sample.source), sample.value)
        for each in seen
        for sample in each.samples
    )
    return _Gauge("skerry_sample", "The newest measurement of each kind.", ("device", "name", "unit", "source"), rows)
