"""Limits of what a telemetry report may say: beyond them is what no device can have measured. Pure.

Every form has the same: what is packed is checked before, what is read after. Knows no bytes.
"""

from collections.abc import Iterable, Iterator

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import is_model_name
from skerry_agent.wire.tallies import MAX_NUMBER
from skerry_agent.wire.telemetry import ModelStats, Report

MAX_TIME_S = 1e11
MAX_LARGE = 2**50
"""Of bytes and nanojoules; other numbers are at most `MAX_NUMBER`, milliseconds (34 years) included."""

MAX_VALUE = 2.0**100
"""Of a sample: all that sensors give is far below, and sums stay finite. A float32, so rounding to one stays within."""

MAX_MODELS, MAX_SAMPLES, MAX_TEXT = 64, 256, 400
MAX_UNCERTAINTY = 1e6
"""Relative; whoever is a million times as unsure as this knows nothing."""


def check_report(report: Report, more: Iterable[str] = ()) -> None:
    """Raise `WireError` for what no device can have measured."""
    issues = [*_issues(report), *more]
    if issues:
        raise WireError("report", issues)


def check_floats(report: Report) -> None:
    """The same of the numbers that a packed report holds without bounds of their own."""
    issues = [*_issues_of_floats(report)]
    if issues:
        raise WireError("report", issues)


def _issues(report: Report) -> Iterator[str]:
    yield from _issues_of_floats(report)
    yield from _beyond("uptime_s", report.uptime_s * 1000)
    yield from _beyond("duration_s", report.duration_s * 1000)
    yield from _beyond("sequence", report.sequence)
    yield from _beyond("outbox_dropped", report.outbox_dropped)
    if len(report.models) > MAX_MODELS or len(report.samples) > MAX_SAMPLES:
        yield f"{len(report.models)} models and {len(report.samples)} samples are too many"
    for sample in report.samples:
        if max(len(sample.name), len(sample.unit), len(sample.method)) > MAX_TEXT:
            yield f"samples: {sample.name[:40]!r} has texts of over {MAX_TEXT} characters"
        yield from _beyond("relative_uncertainty", sample.relative_uncertainty or 0.0, MAX_UNCERTAINTY)
    for stats in report.models:
        yield from _issues_of_model(stats)


def _issues_of_floats(report: Report) -> Iterator[str]:
    """NaN and infinity are beyond every limit."""
    if not abs(report.started) <= MAX_TIME_S:
        yield f"started: {report.started:g} is no time"
    for sample in report.samples:
        if not abs(sample.value) <= MAX_VALUE:
            yield f"samples: {sample.name[:40]!r} of {sample.value:g} was never measured"


def _issues_of_model(stats: ModelStats) -> Iterator[str]:
    if not is_model_name(stats.model):
        yield f"models: {stats.model[:40]!r} is no model's name"
    yield from _beyond("inferences", stats.inferences)
    yield from _beyond("errors", stats.errors)
    yield from _beyond("input_errors", stats.input_errors)
    yield from _beyond("invalid_outputs", stats.invalid_outputs)
    yield from _beyond("dropped", stats.dropped)
    yield from _beyond("load_us", stats.load_us or 0)
    yield from _beyond("rss_bytes", stats.rss_bytes or 0, MAX_LARGE)
    yield from _beyond("energy_uj", (stats.energy_uj or 0) * 1000, MAX_LARGE)
    yield from _beyond("energy_relative_uncertainty", stats.energy_relative_uncertainty or 0.0, MAX_UNCERTAINTY)
    if len(stats.energy_method) > MAX_TEXT:
        yield f"energy_method: is over {MAX_TEXT} characters"
    if stats.outputs:
        yield from _beyond("outputs", min(stats.outputs.values()))
        yield from _beyond("outputs", max(stats.outputs.values()))


def _beyond(name: str, number: float, most: float = MAX_NUMBER) -> Iterator[str]:
    if not 0 <= number <= most:
        yield f"{name}: {number:g} is beyond all measure"
