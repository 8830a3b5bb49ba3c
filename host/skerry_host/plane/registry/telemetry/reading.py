"""Makes values of rows at rest: bodies read, times by the right clock. Holds no queries."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import decode_report
from skerry_agent.wire.telemetry import Report
from skerry_host.plane.registry.telemetry import boots
from skerry_host.plane.registry.telemetry.port import Interval, SampleFigures, StoredReport
from skerry_host.plane.registry.telemetry.rollup import RollUp, unpack_block

DIGITS, ROLLED_DIGITS = 7, 5

log = logging.getLogger(__name__)


def stored_reports(rows: Iterable[Any]) -> Iterator[StoredReport]:
    """Rows of reports, each joined with that of its boot; one that is damaged is left out."""
    for row in rows:
        try:
            yield _stored_report(row, decode_report(row.body))
        except WireError as error:
            log.warning("a stored report of %s is damaged and is left out: %s", row.device, error)


def _stored_report(row: Any, report: Report) -> StoredReport:
    started = _started(row, report) if row.started is None else row.started
    clock = "host" if row.started is None else "device"
    return StoredReport(row.device, row.boot, row.sequence, clock, row.received, interval_of(started, report))


def interval_of(started: float, report: Report) -> Interval:
    """A report, whose interval began at a time."""
    samples = tuple(
        SampleFigures(each.name, each.unit, each.source, each.method, value, value, value, each.relative_uncertainty)
        for each in report.samples
        for value in (_shortened(each.value),)
    )
    return Interval(started, report.duration_s, report.models, samples, report.outbox_dropped)


def interval(started: float, rolled: RollUp) -> Interval:
    """A roll-up, whose period began at a time."""
    samples = tuple(
        SampleFigures(*key, *(_shortened(each, ROLLED_DIGITS) for each in (mean, low, high)))
        for key, (low, mean, high, _) in rolled.figures()
    )
    models = tuple(model.stats() for model in rolled.models)
    return Interval(started, rolled.duration_s, models, samples, rolled.outbox_dropped, rolled.reports)


def block(device: str, body: bytes) -> list[RollUp]:
    """The roll-ups of a block; none of one that is damaged."""
    try:
        return unpack_block(body)
    except ValueError as error:
        log.warning("stored roll-ups of %s are damaged and are left out: %s", device, error)
        return []


def _started(row: Any, report: Report) -> float:
    """The host's estimate, for a device without a clock."""
    zero = boots.zero(row.zero_by_arrival, row.zero_by_clock)
    estimate: float = zero + report.uptime_s - report.duration_s
    received: float = row.received
    return min(max(estimate, received - boots.LONGEST_S), received + boots.AHEAD_S)


def _shortened(value: float, digits: int = DIGITS) -> float:
    """A value that has 24 bits, or 16 in a roll-up, without the digits that it has not."""
    return value if value.is_integer() else float(f"{value:.{digits}g}")
