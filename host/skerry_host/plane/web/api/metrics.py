"""The fleet as Prometheus metrics. Figures per device carry its id; a value that is absent is left out, never 0."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from skerry_host.plane.views import gather
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.views import DeviceView, Overview
from skerry_host.plane.web.entry import Query

QUANTILES = (("0.5", "p50_us"), ("0.95", "p95_us"), ("0.99", "p99_us"))


def answer(query: Query) -> Response:
    """All families, from one consistent state of the registry."""
    with query.registry.read() as session:
        seen = gather.overview(session, time.time())
    text, kind = exposition(seen, query.counters())
    return Response(text, media_type=kind)


def exposition(seen: Overview, counters: Counters) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(seen, counters))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collector:
    """What Prometheus asks for its families."""

    def __init__(self, seen: Overview, counters: Counters) -> None:
        self._seen = seen
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        yield from _plane(self._counters)
        yield from _devices(self._seen.devices)
        yield from _models(self._seen.devices)
        yield _samples(self._seen.devices)
        active = GaugeMetricFamily("skerry_rollouts_active", "Rollouts that have not ended.")
        active.add_metric([], self._seen.totals.active_rollouts)
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


def _devices(devices: tuple[DeviceView, ...]) -> Iterator[Metric]:
    online = GaugeMetricFamily("skerry_device_online", "1 while the device is connected.", labels=["device", "board"])
    seen = GaugeMetricFamily(
        "skerry_device_last_seen_seconds", "When the device last sent a message.", labels=["device"]
    )
    for device in devices:
        online.add_metric([device.id, device.board], float(device.online))
        if device.last_seen is not None:
            seen.add_metric([device.id], device.last_seen)
    yield online
    yield seen


def _models(devices: tuple[DeviceView, ...]) -> Iterator[Metric]:
    labels = ["device", "model", "release"]
    latency = GaugeMetricFamily(
        "skerry_latency_microseconds", "Latency of the newest interval.", labels=[*labels, "quantile"]
    )
    rate = GaugeMetricFamily("skerry_inferences_per_second", "Inferences of the newest interval.", labels=labels)
    energy = GaugeMetricFamily("skerry_energy_microjoules", "Energy per inference.", labels=[*labels, "source"])
    for device in devices:
        for model in device.models:
            newest = model.newest
            if newest is None:
                continue
            key = [device.id, model.model, newest.release]
            rate.add_metric(key, newest.inferences_per_s)
            for quantile, field in QUANTILES:
                value = getattr(newest, field)
                if value is not None:
                    latency.add_metric([*key, quantile], value)
            if newest.energy_uj is not None:
                energy.add_metric([*key, model.energy_source or ""], newest.energy_uj)
    yield from (latency, rate, energy)


def _samples(devices: tuple[DeviceView, ...]) -> Metric:
    family = GaugeMetricFamily(
        "skerry_sample", "The newest measurement of each kind.", labels=["device", "name", "unit", "source"]
    )
    for device in devices:
        for sample in device.samples:
            family.add_metric([device.id, sample.name, sample.unit, sample.source], sample.value)
    return family
