"""What a device has measured over hours, days or a year: roll-ups of a period that fits, or its reports.

Times are those of the device: an interval is shown when it was measured, not when it came.
"""

from collections import defaultdict
from typing import TypeVar

from msgspec import Struct
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import ModelStats
from skerry_host.plane.registry.telemetry.port import DAY_S, HOUR_S, MINUTE_S, Interval
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.newest import rate
from skerry_host.plane.views.views import Point

T = TypeVar("T")

MOST_POINTS = 400
"""So many intervals of a model at most, unless a period is asked for."""

REPORTS_S = 3 * HOUR_S
"""Of so much time, reports themselves are shown."""

PERIODS_S = (10 * MINUTE_S, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, DAY_S, 7 * DAY_S)


class SampleRange(Struct, frozen=True):
    """One kind of measurement over an interval: its mean, lowest and highest value."""

    at: float
    value: float
    low: float
    high: float
    unit: str
    source: str
    method: str


class History(Struct, frozen=True):
    """The intervals of a device, by model and by sample, oldest first; `period_s` is 0 for reports."""

    device: str
    since: float
    until: float
    period_s: int
    models: dict[str, tuple[Point, ...]]
    samples: dict[str, tuple[SampleRange, ...]]


def history(session: Session, device: str, since: float, until: float, period_s: int | None = None) -> History:
    """What a device has measured in some time, in intervals of a period; without one, of a period that fits."""
    period = fitting(until - since) if period_s is None else period_s
    models: defaultdict[str, list[Point]] = defaultdict(list)
    samples: defaultdict[str, list[SampleRange]] = defaultdict(list)
    for one in SqlTelemetry(session).series(device, since, until, period):
        for stats in one.models:
            models[stats.model].append(point(one, stats))
        for each in one.samples:
            numbers = each.value, each.low, each.high
            samples[each.name].append(SampleRange(one.started, *numbers, each.unit, each.source, each.method))
    return History(device, since, until, period, _frozen(models), _frozen(samples))


def fitting(seconds: float) -> int:
    """The shortest period of which not too many make up a time; 0 for reports."""
    if seconds <= REPORTS_S:
        return 0
    return next((period for period in PERIODS_S if seconds / period <= MOST_POINTS), PERIODS_S[-1])


def point(interval: Interval, stats: ModelStats) -> Point:
    """One interval of one model."""
    p50, p95, p99 = stats.latency.quantiles(0.50, 0.95, 0.99)
    energy = stats.energy_uj, stats.energy_relative_uncertainty
    return Point(interval.started, stats.release, rate(interval, stats), p50, p95, p99, *energy)


def _frozen(lists: dict[str, list[T]]) -> dict[str, tuple[T, ...]]:
    return {name: tuple(each) for name, each in lists.items()}
