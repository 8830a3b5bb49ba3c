"""Makes values of rows and bodies at rest: times by the right clock, names as texts. Queries names only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from skerry_host.plane.registry.telemetry import boots, names, packing
from skerry_host.plane.registry.telemetry.packing import Key, Name, PackedModel, PackedReport, RollUp
from skerry_host.plane.registry.telemetry.port import Interval, ModelFigures, SampleFigures, StoredReport


@dataclass(frozen=True, slots=True)
class RawReport:
    """A row of reports with what is needed of its boot, body read; `told` is its start by the device's clock."""

    device: str
    boot: str
    zero: float
    sequence: int
    told: float | None
    received: float
    body: PackedReport

    @property
    def started(self) -> float:
        """When its interval began."""
        if self.told is not None:
            return self.told
        estimate = self.zero + self.body.uptime_s - self.body.duration_s
        return min(max(estimate, self.received - boots.LONGEST_S), self.received + boots.AHEAD_S)


def raw(boot: Any, row: Any) -> RawReport:
    """A row of reports and that of its boot, read; each has the columns of that name."""
    zero = boots.zero(boot.zero_by_arrival, boot.zero_by_clock)
    body = packing.unpack(row.body)
    return RawReport(boot.device, boot.boot, zero, row.sequence, row.started, row.received, body)


def stored_reports(session: Session, raw: Sequence[RawReport]) -> Iterator[StoredReport]:
    """The reports of some rows."""
    known = names.keys_of(session, _names(each.body for each in raw))
    for each in raw:
        values = [(value, value, value) for value in each.body.sample_values()]
        interval = _interval(each.started, each.body, values, known)
        clock = "host" if each.told is None else "device"
        yield StoredReport(each.device, each.boot, each.sequence, clock, each.received, interval)


def intervals(session: Session, rolled: Sequence[tuple[float, RollUp]]) -> list[Interval]:
    """Roll-ups with the times when they begin, as intervals."""
    known = names.keys_of(session, _names(each for _, each in rolled))
    return [_interval(started, each, each.figures(), known, each.reports) for started, each in rolled]


def _names(bodies: Iterable[PackedReport | RollUp]) -> Iterator[Name]:
    for body in bodies:
        yield from body.samples
        for model in body.models:
            yield model.name
            yield from model.outputs
            if model.energy is not None:
                yield model.energy


def _interval(
    started: float,
    body: PackedReport | RollUp,
    values: Iterable[Sequence[float]],
    known: Mapping[Name, Key],
    reports: int = 1,
) -> Interval:
    samples = tuple(_sample(known[name], numbers) for name, numbers in zip(body.samples, values, strict=True))
    models = tuple(_model(each, known) for each in body.models)
    return Interval(started, body.duration_s, models, samples, body.outbox_dropped, reports)


def _sample(key: Key, numbers: Sequence[float]) -> SampleFigures:
    name, unit, source, method = (each or "" for each in key)
    low, mean, high = numbers[:3]
    return SampleFigures(name, unit, source, method, mean, low, high)


def _model(body: PackedModel, known: Mapping[Name, Key]) -> ModelFigures:
    model, release = known[body.name]
    source, method = known[body.energy] if body.energy is not None else (None, "")
    return ModelFigures(
        model or "",
        release or "",
        body.inferences,
        body.errors,
        body.invalid_outputs,
        body.dropped,
        body.latency,
        body.total_us,
        body.load_us,
        body.rss_bytes,
        body.energy_uj,
        source,
        method or "",
        {known[label][0] or "": count for label, count in body.outputs.items()},
    )
