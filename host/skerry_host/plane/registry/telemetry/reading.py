"""Makes values of rows at rest: bodies read, times by the right clock. Holds no queries."""

from typing import Any

from skerry_agent.wire.report_forms import decode_report
from skerry_agent.wire.telemetry import Report
from skerry_host.plane.registry.telemetry import boots
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures, StoredReport
from skerry_host.plane.registry.telemetry.rollup import RollUp


def stored_report(row: Any) -> StoredReport:
    """A row of reports joined with that of its boot."""
    report = decode_report(row.body)
    started = _started(row, report) if row.started is None else row.started
    samples = tuple(
        SampleFigures(each.name, each.unit, each.source, each.method, value, value, value)
        for each in report.samples
        for value in (_shortened(each.value),)
    )
    interval = Interval(started, report.duration_s, report.models, samples, report.outbox_dropped)
    clock = "host" if row.started is None else "device"
    return StoredReport(row.device, row.boot, row.sequence, clock, row.received, interval)


def interval(started: float, rolled: RollUp) -> Interval:
    """A roll-up, whose period began at a time."""
    samples = tuple(
        SampleFigures(*key, *map(_shortened, (mean, low, high))) for key, (low, mean, high, _) in rolled.figures()
    )
    models = tuple(model.stats() for model in rolled.models)
    return Interval(started, rolled.duration_s, models, samples, rolled.outbox_dropped, rolled.reports)


def _started(row: Any, report: Report) -> float:
    """The host's estimate, for a device without a clock."""
    zero = boots.zero(row.zero_by_arrival, row.zero_by_clock)
    estimate: float = zero + report.uptime_s - report.duration_s
    received: float = row.received
    return min(max(estimate, received - boots.LONGEST_S), received + boots.AHEAD_S)


def _shortened(value: float) -> float:
    """A value that has 24 bits, without the digits that it has not."""
    return value if value.is_integer() else float(f"{value:.7g}")
